"""Tables of a database that nobody serves, as one Parquet file each, and back into a new database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from chronoduck.engine.failures import parse_message
from chronoduck.engine.inspection import TableFacts, read_table
from chronoduck.errors import DatabaseFailedError, NotFoundError
from chronoduck.settings import Settings

__all__ = ["SCHEMA_NAME", "export_tables", "import_tables"]

SCHEMA_NAME = "schema.sql"
Progress = Callable[[int, int], None]
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "1GB",
    "autoinstall_known_extensions": "false",
    "errors_as_json": "true",
}
_TABLES = """
SELECT schema_name, table_name, sql FROM duckdb_tables()
WHERE NOT internal AND NOT temporary ORDER BY table_oid
"""
_ENUMS = """
SELECT type_name, labels FROM duckdb_types()
WHERE logical_type = 'ENUM' AND NOT internal AND labels IS NOT NULL
"""
_SEQUENCES = "SELECT sql FROM duckdb_sequences() WHERE NOT temporary"


def export_tables(
    database: Path,
    tables: Sequence[str],
    directory: Path,
    settings: Settings,
    on_progress: Progress = lambda done, total: None,
) -> tuple[TableFacts, ...]:
    """Write ``TABLE.parquet`` for each table, and ``schema.sql`` that makes them; all in one state.

    Raises:
        NotFoundError: there is no such table.
        DatabaseFailedError: a table cannot be read or written.
    """
    with _failing(f"{database} cannot be exported"):
        connection = duckdb.connect(str(database), config=_CONFIG)
        try:
            known = {
                (schema, table): sql
                for schema, table, sql in connection.execute(_TABLES).fetchall()
            }
            wanted = [_find(name, list(known)) for name in tables]
            facts = []
            statements = _dependencies(connection)
            for done, key in enumerate(wanted):
                on_progress(done, len(wanted))
                statements.append(known[key])
                facts.append(read_table(connection, *key, full=True))
                target = directory / f"{_file_name(key)}.parquet"
                connection.execute(
                    f"COPY {_quoted(*key)} TO '{_literal(target)}' ({_parquet_options(settings)})"
                )
            schemas = sorted({schema for schema, _ in wanted} - {"main"})
            made = [f"CREATE SCHEMA {_quoted(schema)};" for schema in schemas]
            (directory / SCHEMA_NAME).write_text("\n".join([*made, *statements]) + "\n")
            on_progress(len(wanted), len(wanted))
            return tuple(facts)
        finally:
            connection.close()


def import_tables(
    directory: Path,
    database: Path,
    on_progress: Progress = lambda done, total: None,
) -> None:
    """Make a database file of what ``export_tables`` wrote.

    Raises:
        DatabaseFailedError: a file is missing or damaged, or the database cannot be written.
    """
    with _failing(f"{directory} cannot be restored"):
        connection = duckdb.connect(str(database), config=_CONFIG)
        try:
            connection.execute((directory / SCHEMA_NAME).read_text())
            found = [row[:2] for row in connection.execute(_TABLES).fetchall()]
            for done, key in enumerate(found):
                on_progress(done, len(found))
                source = directory / f"{_file_name(key)}.parquet"
                connection.execute(
                    f"COPY {_quoted(*key)} FROM '{_literal(source)}' (FORMAT parquet)"
                )
            connection.execute("CHECKPOINT")
            on_progress(len(found), len(found))
        finally:
            connection.close()


@contextmanager
def _failing(what: str) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        message = str(parse_message(error)["exception_message"]).splitlines()[0]
        raise DatabaseFailedError(f"{what}: {message}") from error


def _dependencies(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the statements that make what tables may refer to: enums and sequences."""
    statements = []
    for name, labels in connection.execute(_ENUMS).fetchall():
        texts = ", ".join("'" + label.replace("'", "''") + "'" for label in labels)
        statements.append(f"CREATE TYPE {_quoted(name)} AS ENUM ({texts});")
    return statements + [row[0] for row in connection.execute(_SEQUENCES).fetchall()]


def _find(name: str, known: list[tuple[str, str]]) -> tuple[str, str]:
    schema, _, table = name.rpartition(".")
    for key in known:
        if key[1] == table and key[0] == (schema or "main"):
            return key
    raise NotFoundError(f"there is no table {name}", hint="GET tables lists them.")


def _parquet_options(settings: Settings) -> str:
    codec = settings.parquet_compression
    options = [
        "FORMAT parquet",
        f"COMPRESSION {'uncompressed' if codec == 'NONE' else codec.lower()}",
        f"ROW_GROUP_SIZE {settings.parquet_row_group_size}",
    ]
    if not settings.parquet_enable_dictionary:
        options.append("DICTIONARY_SIZE_LIMIT 0")
    return ", ".join(options)


def _file_name(key: tuple[str, str]) -> str:
    schema, table = key
    name = table if schema == "main" else f"{schema}.{table}"
    return name.replace("/", "_")


def _quoted(*names: str) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def _literal(path: Path) -> str:
    return str(path).replace("'", "''")
