"""Inspection of a database file that no process serves: open, checkpoint, count and read all columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from chronoduck.engine.index_check import IndexDamage, check_indexes
from chronoduck.engine.opening_options import OPENING_OPTIONS
from chronoduck.engine.storage_version import own_storage_version
from chronoduck.engine.tables import located, quoted
from chronoduck.errors import DatabaseFailedError
from chronoduck.own_schema import OWN_SCHEMA, PRODUCT_NAMES, PRODUCT_SCHEMA
from chronoduck.sql.engine_errors import first_sentence

__all__ = [
    "ENGINE_VERSION",
    "Inspection",
    "TableFacts",
    "inspect_database",
    "is_untouched",
    "read_table",
    "refuse_damaged_indexes",
]

ENGINE_VERSION = duckdb.__version__
_HERE = "database_name = current_database()"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TableFacts:
    """One table: how many rows, and a hash of all of them in any order (None: not computed)."""

    name: str
    rows: int
    hash: str | None = None


@dataclass(frozen=True)
class Inspection:
    """What is in a file."""

    tables: tuple[TableFacts, ...]
    damaged_indexes: tuple[IndexDamage, ...] = ()
    """Indexes that answer otherwise than their tables; only a full inspection looks."""
    storage_version: str = ""
    """The oldest DuckDB that can open the file."""

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables)


def inspect_database(
    path: Path,
    *,
    full: bool,
    checkpoint: bool = False,
    memory_limit: str = "1GB",
    on_progress: Progress = lambda done, total: None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Inspection:
    """Open the file and count its rows; ``full`` also reads and hashes every column of every row.

    Checksums are checked by DuckDB when a block is read, so that only ``full`` finds every damage.
    ``full`` also compares look-ups by each index with a scan; an index that differs is no error here,
    because the rows are whole.
    ``checkpoint`` replays the WAL into the file and leaves no WAL; without it nothing is changed.
    ``on_stage`` is told ``checkpointed`` or ``read: table ...`` before that is tried. DuckDB runs in
    this process: ``engine.offline`` does the same in a child, and by more than one way.

    Raises:
        DatabaseFailedError: the file, its log or a table cannot be read.
    """
    what = "opened"
    config = OPENING_OPTIONS | {"memory_limit": memory_limit}
    try:
        connection = duckdb.connect(str(path), read_only=not checkpoint, config=config)
        try:
            if checkpoint:
                what = "checkpointed"
                on_stage(what)
                connection.execute("CHECKPOINT")
            found = connection.execute(
                "SELECT schema_name, table_name FROM duckdb_tables() "
                "WHERE NOT internal AND NOT temporary ORDER BY ALL"
            ).fetchall()
            tables = []
            for done, (schema, table) in enumerate(found):
                on_progress(done, len(found))
                what = f"read: table {schema}.{table}"
                on_stage(what)
                tables.append(read_table(connection, schema, table, full=full))
            what = "read: indexes"
            on_stage(what)
            damages = check_indexes(connection) if full else ()
            on_progress(len(found), len(found))
            return Inspection(tuple(tables), tuple(damages), own_storage_version(connection))
        finally:
            connection.close()
    except (duckdb.Error, RuntimeError, ValueError) as error:  # UnicodeDecodeError: a damaged name
        raise DatabaseFailedError(
            f"{path} cannot be {what}: {first_sentence(error)}",
            hint="Keep the file as it is. Restore an earlier point (chronoduck restore --list) or a "
            "backup (chronoduck backup list) beside it.",
        ) from error


_ENTRIES = f"""
SELECT schema_name, table_name, 'table' FROM duckdb_tables() WHERE NOT internal AND {_HERE}
UNION ALL SELECT schema_name, view_name, 'view' FROM duckdb_views() WHERE NOT internal AND {_HERE}
UNION ALL SELECT schema_name, NULL, 'schema' FROM duckdb_schemas() WHERE NOT internal AND {_HERE}
UNION ALL SELECT schema_name, NULL, 'sequence' FROM duckdb_sequences() WHERE {_HERE}
UNION ALL SELECT schema_name, NULL, 'type' FROM duckdb_types() WHERE NOT internal AND {_HERE}
UNION ALL SELECT schema_name, NULL, 'macro' FROM duckdb_functions() WHERE NOT internal AND {_HERE}
"""


def is_untouched(path: Path) -> bool:
    """Whether a database file holds nothing but what the service itself puts into a new one."""
    try:
        with duckdb.connect(str(path), read_only=True, config=OPENING_OPTIONS) as connection:
            for schema, name, kind in connection.execute(_ENTRIES).fetchall():
                if schema == OWN_SCHEMA or (schema == PRODUCT_SCHEMA and kind == "schema"):
                    continue
                if schema != PRODUCT_SCHEMA or name not in PRODUCT_NAMES:
                    return False
                if connection.execute(f"SELECT 1 FROM {quoted(name)} LIMIT 1").fetchall():
                    return False
    except duckdb.Error:
        return False
    return True


def refuse_damaged_indexes(path: Path, inspection: Inspection) -> None:
    """Check that every index answers as its table does.

    Raises:
        DatabaseFailedError: an index differs; the hint says how to rebuild it.
    """
    for damage in inspection.damaged_indexes:
        repair = (
            "Its constraint owns it: write the table anew with CREATE TABLE and INSERT."
            if damage.is_constraint
            else "Run DROP INDEX, CHECKPOINT and CREATE INDEX; a restore would bring the same index back."
        )
        raise DatabaseFailedError(
            f"every row of {path} can be read, but {len(inspection.damaged_indexes)} indexes "
            f"answer otherwise than their tables, the first: {damage}",
            hint=repair,
        )


def read_table(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    table: str,
    *,
    full: bool,
    database: str | None = None,
) -> TableFacts:
    """Return a table's rows, and with ``full`` the hash of all their columns.

    ``database``: the catalog it is in; None: the current one.

    Raises:
        duckdb.Error: it cannot be read.
    """
    name = quoted(database, schema, table) if database else located(connection, schema, table)
    if not full:
        row = connection.execute(f"SELECT count(*) FROM {name}").fetchone()
        return TableFacts(f"{schema}.{table}", int(row[0]) if row else 0)
    # Sums do not depend on the order of rows, which threads change.
    row = connection.execute(f"SELECT count(*), sum(hash(t)::HUGEINT) FROM {name} t").fetchone()
    rows, digest = row if row else (0, 0)
    return TableFacts(f"{schema}.{table}", int(rows), f"{int(digest or 0) % 2**128:032x}")
