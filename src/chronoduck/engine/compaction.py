"""A database file written anew without the space that deleted rows and dropped tables left in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb

from chronoduck.engine.failures import first_sentence
from chronoduck.engine.inspection import read_table
from chronoduck.engine.storage_version import file_storage_version, new_file_config
from chronoduck.errors import DatabaseFailedError

__all__ = ["compact_file"]

Progress = Callable[[int, int], None]
_TABLES = (
    "SELECT schema_name, table_name FROM duckdb_tables() "
    "WHERE NOT internal AND database_name = ? ORDER BY table_oid"
)
_PARENTS = (
    "SELECT DISTINCT schema_name, table_name, referenced_table FROM duckdb_constraints() "
    "WHERE constraint_type = 'FOREIGN KEY' AND database_name = ?"
)
_COLUMNS = (
    "SELECT column_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = ? "
    "AND table_name = ? ORDER BY column_index"
)
# What a copy must have beside the rows. The START in a sequence's text is the value it gives next.
_CATALOG = {
    "schemas": "SELECT schema_name, comment FROM duckdb_schemas() WHERE NOT internal",
    "tables": "SELECT schema_name, sql, comment FROM duckdb_tables() WHERE NOT internal",
    "columns": "SELECT schema_name, table_name, column_name, comment FROM duckdb_columns() "
    "WHERE NOT internal",
    "views": "SELECT schema_name, sql, comment FROM duckdb_views() WHERE NOT internal",
    "indexes": "SELECT schema_name, sql, comment FROM duckdb_indexes() WHERE true",
    "sequences": "SELECT schema_name, sql, comment FROM duckdb_sequences() WHERE true",
    "macros": "SELECT schema_name, function_name, macro_definition FROM duckdb_functions() "
    "WHERE NOT internal",
    "types": "SELECT schema_name, type_name, labels FROM duckdb_types() WHERE NOT internal",
}


def compact_file(
    source: Path,
    target: Path,
    on_progress: Progress = lambda done, total: None,
    *,
    storage_version: str | None = None,
) -> int:
    """Write the database in ``source`` (which nobody has open) to a new file; return its rows.

    Everything is compared: each table's rows by a hash over all columns, and the catalogue. The new
    file has the given storage version; without one it keeps that of the source.

    Raises:
        DatabaseFailedError: the source cannot be read, or the copy would not be the same.
    """
    what = "opened"
    try:
        version = storage_version or file_storage_version(source)
        connection = duckdb.connect(
            str(target),
            config={
                "memory_limit": "1GB",
                "autoinstall_known_extensions": "false",
                "errors_as_json": "true",
                "wal_autocheckpoint": "1TB",
                **new_file_config(version),
            },
        )
        try:
            connection.execute(f"ATTACH '{_escaped(str(source))}' AS source (READ_ONLY)")
            row = connection.execute("SELECT current_database()").fetchone()
            name = str(row[0]) if row else ""
            what = "described"
            connection.execute(f"COPY FROM DATABASE source TO {_quoted(name)} (SCHEMA)")
            rows = 0
            tables = _tables_in_order(connection)
            for done, (schema, table) in enumerate(tables):
                on_progress(done, len(tables))
                what = f"read: table {schema}.{table}"
                rows += _copy_table(connection, name, schema, table)
            what = "compared"
            _compare_catalogs(connection, source, name)
            connection.execute("DETACH source")
            connection.execute("CHECKPOINT")
            return rows
        finally:
            connection.close()
    except duckdb.Error as error:
        raise DatabaseFailedError(
            f"{source} cannot be compacted, it cannot be {what}: {first_sentence(error)}",
            hint="The database is as it was. chronoduck verify tells whether it is damaged.",
        ) from error


def _tables_in_order(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """Return the tables, those that foreign keys refer to before those that have the keys."""
    waiting = connection.execute(_TABLES, ["source"]).fetchall()
    parents: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for schema, table, referenced in connection.execute(_PARENTS, ["source"]).fetchall():
        if referenced != table:
            parents.setdefault((schema, table), set()).add((schema, referenced))
    ordered: list[tuple[str, str]] = []
    while waiting:
        ready = [each for each in waiting if parents.get(each, set()) <= set(ordered)]
        ordered += ready or waiting  # a circle cannot be declared in DuckDB
        waiting = [each for each in waiting if each not in ordered]
    return ordered


def _copy_table(connection: duckdb.DuckDBPyConnection, target: str, schema: str, table: str) -> int:
    place = f"{_quoted(schema)}.{_quoted(table)}"
    all_columns = connection.execute(_COLUMNS, ["source", schema, table]).fetchall()
    new_place = f"{_quoted(target)}.{place}"
    columns = ", ".join(
        _quoted(name) for (name,) in all_columns if not _is_generated(connection, new_place, name)
    )
    connection.execute(f"INSERT INTO {new_place} ({columns}) SELECT {columns} FROM source.{place}")
    connection.execute("USE source")
    old = read_table(connection, schema, table, full=True)
    connection.execute(f"USE {_quoted(target)}")
    new = read_table(connection, schema, table, full=True)
    if old != new:
        raise DatabaseFailedError(
            f"the copy of table {schema}.{table} is not the same as the table",
            hint="The database is as it was.",
        )
    return new.rows


def _is_generated(connection: duckdb.DuckDBPyConnection, place: str, column: str) -> bool:
    """Whether a column is computed; the catalogue does not say it, the binder does."""
    try:
        connection.execute(f"EXPLAIN INSERT INTO {place} ({_quoted(column)}) SELECT NULL")
    except duckdb.BinderException:
        return True
    return False


def _compare_catalogs(connection: duckdb.DuckDBPyConnection, source: Path, target: str) -> None:
    for what, query in _CATALOG.items():
        condition = " AND database_name = ? ORDER BY ALL"
        old = connection.execute(query + condition, ["source"]).fetchall()
        new = connection.execute(query + condition, [target]).fetchall()
        if old != new:
            raise DatabaseFailedError(
                f"{source} cannot be compacted: its {what} would not be the same in the copy",
                hint="The database is as it was. EXPORT DATABASE and IMPORT DATABASE may do it.",
            )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _escaped(text: str) -> str:
    return text.replace("'", "''")
