"""Tables of a database that nobody serves, as one Parquet file each, and back into a new database."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import duckdb

from chronoduck.engine.inspection import Inspection, read_table
from chronoduck.engine.opening_options import OPENING_OPTIONS
from chronoduck.engine.storage_version import (
    is_known_storage_version,
    new_file_config,
    own_storage_version,
)
from chronoduck.engine.tables import fresh_catalog, is_generated, located, quoted
from chronoduck.errors import DatabaseFailedError, NotFoundError
from chronoduck.settings import Settings
from chronoduck.sql.error_facts import read_facts
from chronoduck.sql.rules.file_names import folded
from chronoduck.table_names import parse_table_name

__all__ = ["SCHEMA_NAME", "export_tables", "import_tables"]

SCHEMA_NAME = "schema.sql"
Progress = Callable[[int, int], None]
_CONFIG = OPENING_OPTIONS | {"memory_limit": "1GB"}
_TABLES = """
SELECT schema_name, table_name, sql FROM duckdb_tables()
WHERE NOT internal AND NOT temporary ORDER BY table_oid
"""
_ENUMS = """
SELECT schema_name, type_name, labels FROM duckdb_types()
WHERE logical_type = 'ENUM' AND NOT internal AND labels IS NOT NULL
"""
_SEQUENCES = "SELECT schema_name, sql FROM duckdb_sequences() WHERE NOT temporary"
_ENGINE_NAMES = {"temp", "system"}
"""DuckDB's own catalogs: a schema of such a name cannot be named in a statement without its database."""
_LONGEST_NAME = 150
_LOSSY = re.compile(r"('(?:[^']|'')*')|\b(?:U?HUGEINT|INTERVAL|TIME WITH TIME ZONE)\b")
"""What Parquet rounds (beside an enum's labels): it is written as text, and restored from that."""


def export_tables(
    database: Path,
    tables: Sequence[str],
    directory: Path,
    settings: Settings,
    on_progress: Progress = lambda done, total: None,
) -> Inspection:
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
            named = {_find(name, list(known)) for name in tables}
            _refuse_engine_names({schema for schema, _ in named})
            wanted = [key for key in known if key in named]  # a table after those it refers to
            facts = []
            schemas, statements = _dependencies(connection)
            for done, key in enumerate(wanted):
                on_progress(done, len(wanted))
                statements.append(known[key])
                facts.append(read_table(connection, *key, full=True))
                target = directory / _file_name(key)
                connection.execute(
                    f"COPY (SELECT {_columns(connection, key)} FROM {located(connection, *key)}) "
                    f"TO '{_literal(target)}' ({_parquet_options(settings)})"
                )
            schemas |= {schema for schema, _ in wanted}
            made = [f"CREATE SCHEMA {quoted(name)};" for name in sorted(schemas - {"main"})]
            (directory / SCHEMA_NAME).write_text("\n".join([*made, *statements]) + "\n")
            on_progress(len(wanted), len(wanted))
            return Inspection(tuple(facts), storage_version=own_storage_version(connection))
        finally:
            connection.close()


def import_tables(
    directory: Path,
    database: Path,
    on_progress: Progress = lambda done, total: None,
    *,
    storage_version: str,
    noted_version: str = "",
) -> None:
    """Make a database file of what ``export_tables`` wrote.

    The file has the storage version that was noted of the exported database; ``storage_version``
    where none was noted, or where this engine cannot write the noted one.

    Raises:
        DatabaseFailedError: a file is missing or damaged, or the database cannot be written.
    """
    with _failing(f"{directory} cannot be restored"):
        version = noted_version if is_known_storage_version(noted_version) else storage_version
        connection = duckdb.connect(":memory:", config=_CONFIG | new_file_config(version))
        try:
            # Under the name of its file a database may not have a schema of that name in SQL.
            name = fresh_catalog("restored")
            connection.execute(f"ATTACH '{_literal(database)}' AS {name}")
            connection.execute(f"USE {name}.main")
            connection.execute("DETACH memory")
            connection.execute((directory / SCHEMA_NAME).read_text())
            found = [row[:2] for row in connection.execute(_TABLES).fetchall()]
            for done, key in enumerate(found):
                on_progress(done, len(found))
                source = directory / _file_name(key)
                if not source.exists():
                    source = directory / _former_file_name(key)
                connection.execute(
                    f"COPY {quoted(name, *key)} FROM '{_literal(source)}' (FORMAT parquet)"
                )
            connection.execute(f"CHECKPOINT {name}")
            on_progress(len(found), len(found))
            database.chmod(0o640)
        finally:
            connection.close()


@contextmanager
def _failing(what: str) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        message = read_facts(error).message.splitlines()[0]
        raise DatabaseFailedError(
            f"{what}: {message}",
            hint="Name the tables that it refers to as well, or back up the whole database.",
        ) from error


def _dependencies(connection: duckdb.DuckDBPyConnection) -> tuple[set[str], list[str]]:
    """Return the schemas and statements of what tables may refer to: enums and sequences."""
    statements = []
    enums = [row for row in connection.execute(_ENUMS).fetchall() if row[0] not in _ENGINE_NAMES]
    for schema, name, labels in enums:
        texts = ", ".join("'" + label.replace("'", "''") + "'" for label in labels)
        statements.append(f"CREATE TYPE {quoted(schema, name)} AS ENUM ({texts});")
    found = connection.execute(_SEQUENCES).fetchall()
    sequences = [row for row in found if row[0] not in _ENGINE_NAMES]
    for schema, sql in sequences:
        # DuckDB's own statement does not name the schema.
        made = "CREATE SEQUENCE "
        statements.append(f"{made}{quoted(schema)}.{sql.removeprefix(made)}")
    return {each[0] for each in (*enums, *sequences)}, statements


def _refuse_engine_names(schemas: set[str]) -> None:
    """Refuse schemas that DuckDB does not find in the statements that it writes itself.

    Raises:
        DatabaseFailedError: there is one.
    """
    for schema in sorted(schemas & _ENGINE_NAMES):
        raise DatabaseFailedError(
            f"tables of the schema {schema} cannot be exported one by one",
            hint="Back up the whole database, or move them: DuckDB has a catalog of that name.",
        )


def _find(name: str, known: list[tuple[str, str]]) -> tuple[str, str]:
    """Return the table of that name, which is matched as SQL does: in any case."""
    try:
        wanted = [parse_table_name(name), (name,)]
    except ValueError:
        wanted = [(name,)]
    for path in wanted:
        folded_path = tuple(map(folded, path))
        for key in known:
            paths = [key, (key[1],)] if key[0] == "main" else [key]
            if folded_path in [tuple(map(folded, each)) for each in paths]:
                return key
    raise NotFoundError(f"there is no table {name}", hint="GET tables lists them.")


def _columns(connection: duckdb.DuckDBPyConnection, key: tuple[str, str]) -> str:
    """Return what to select so that Parquet holds every stored value exactly."""
    found = connection.execute(
        "SELECT column_name, data_type, column_default FROM duckdb_columns() "
        "WHERE schema_name = ? AND table_name = ? ORDER BY column_index",
        list(key),
    ).fetchall()
    texts = []
    for name, kind, default in found:
        if default is None or not is_generated(connection, located(connection, *key), name):
            exact = _LOSSY.sub(lambda match: match[1] or "VARCHAR", kind)
            cast = "" if exact == kind else f"::{exact}"
            texts.append(f"{quoted(name)}{cast} AS {quoted(name)}")
    return ", ".join(texts)


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
    """Return the name of a table's file; no two tables have one."""
    schema, table = map(_encoded, key)
    name = table if schema == "main" else f"{schema}.{table}"
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}%{hashlib.sha256(name.encode()).hexdigest()}"
    return f"{name}.parquet"


def _encoded(name: str) -> str:
    return quote(name, safe=" ").replace(".", "%2E")


def _former_file_name(key: tuple[str, str]) -> str:
    """Return the name that the file has in backups of earlier versions."""
    schema, table = key
    name = table if schema == "main" else f"{schema}.{table}"
    return name.replace("/", "_") + ".parquet"


def _literal(path: Path) -> str:
    return str(path).replace("'", "''")
