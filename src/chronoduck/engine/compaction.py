"""A database file written anew without the space that deleted rows and dropped tables left in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from chronoduck.engine.inspection import read_table
from chronoduck.engine.opening_options import OPENING_OPTIONS
from chronoduck.engine.storage_version import file_storage_version, new_file_config
from chronoduck.engine.tables import fresh_catalog, parents_first, quoted, stored_columns
from chronoduck.errors import DatabaseFailedError
from chronoduck.settings import Settings
from chronoduck.sql.engine_errors import first_sentence

__all__ = ["CompactionSpace", "compact_file", "plan_space"]

Progress = Callable[[int, int], None]
_COPIED = 1.5
"""So many times what is used must be free for a copy on another volume; ``copy_database`` asks for it."""
_TABLES = (
    "SELECT schema_name, table_name FROM duckdb_tables() "
    "WHERE NOT internal AND database_name = ? ORDER BY table_oid"
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


@dataclass(frozen=True)
class CompactionSpace:
    """What a compaction needs on the volume of the database, and where its copy is read from."""

    needed_bytes: int
    scratch: Path | None
    """Of the copy; None: beside the database."""


def plan_space(settings: Settings, used_bytes: int) -> CompactionSpace:
    """Decide where the copy of the live file goes: only the new file must be beside the database.

    Raises:
        OSError: a volume does not answer.
    """
    margin = used_bytes // 8 + settings.disk_floor // 4
    temp = settings.temp_directory
    has_other_volume = temp.stat().st_dev != settings.database_path.parent.stat().st_dev
    room = shutil.disk_usage(temp).free - settings.disk_floor
    if has_other_volume and room >= _COPIED * used_bytes:
        return CompactionSpace(used_bytes + margin, temp)
    return CompactionSpace(2 * used_bytes + margin, None)


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
            config=OPENING_OPTIONS | {"memory_limit": "1GB"} | new_file_config(version),
        )
        try:
            old = fresh_catalog("source")
            connection.execute(f"ATTACH '{_escaped(str(source))}' AS {old} (READ_ONLY)")
            row = connection.execute("SELECT current_database()").fetchone()
            name = str(row[0]) if row else ""
            what = "described"
            connection.execute(f"COPY FROM DATABASE {old} TO {quoted(name)} (SCHEMA)")
            rows = 0
            found = connection.execute(_TABLES, [old]).fetchall()
            tables = parents_first(connection, old, found)
            for done, (schema, table) in enumerate(tables):
                on_progress(done, len(tables))
                what = f"read: table {schema}.{table}"
                rows += _copy_table(connection, old, name, schema, table)
            what = "compared"
            _compare_catalogs(connection, source, old, name)
            connection.execute(f"DETACH {old}")
            connection.execute("CHECKPOINT")
            return rows
        finally:
            connection.close()
    except duckdb.Error as error:
        raise DatabaseFailedError(
            f"{source} cannot be compacted, it cannot be {what}: {first_sentence(error)}",
            hint="The database is as it was. chronoduck verify tells whether it is damaged.",
        ) from error


def _copy_table(
    connection: duckdb.DuckDBPyConnection, source: str, target: str, schema: str, table: str
) -> int:
    place, new_place = quoted(source, schema, table), quoted(target, schema, table)
    columns = ", ".join(stored_columns(connection, schema, table, new_place, database=source))
    connection.execute(f"INSERT INTO {new_place} ({columns}) SELECT {columns} FROM {place}")
    old = read_table(connection, schema, table, full=True, database=source)
    new = read_table(connection, schema, table, full=True, database=target)
    if old != new:
        raise DatabaseFailedError(
            f"the copy of table {schema}.{table} is not the same as the table",
            hint="The database is as it was.",
        )
    return new.rows


def _compare_catalogs(
    connection: duckdb.DuckDBPyConnection, source: Path, old_name: str, new_name: str
) -> None:
    for what, query in _CATALOG.items():
        condition = " AND database_name = ? ORDER BY ALL"
        old = connection.execute(query + condition, [old_name]).fetchall()
        new = connection.execute(query + condition, [new_name]).fetchall()
        if old != new:
            raise DatabaseFailedError(
                f"{source} cannot be compacted: its {what} would not be the same in the copy",
                hint="The database is as it was. EXPORT DATABASE and IMPORT DATABASE may do it.",
            )


def _escaped(text: str) -> str:
    return text.replace("'", "''")
