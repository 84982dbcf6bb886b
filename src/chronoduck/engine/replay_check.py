"""A replay tried out on a copy: open it, read it, and for a proof write to it and open it again.

Imports nothing but DuckDB, for processes that must start quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from chronoduck.engine.index_check import check_indexes
from chronoduck.engine.opening_options import OPENING_OPTIONS
from chronoduck.engine.tables import located, stored_columns

__all__ = ["FAILURES", "Case", "judge"]

Say = Callable[[str], None]
FAILURES: tuple[type[Exception], ...] = (duckdb.Error, ValueError)
"""What ``judge`` raises when a start would fail, too."""
_WHOLE_ROWS = 2_000_000
"""A touched table up to so many rows is read and compared as a whole; of a larger one the newest rows."""
_NEWEST_ROWS = 250_000
_INDEXED_ROWS = 5_000_000
"""Indexes of a larger table are not compared: it would take longer than a proof may."""
_KEYS = 500
_CATALOG = (
    "SELECT 'table', schema_name, table_name, sql FROM duckdb_tables() "
    "WHERE NOT internal AND NOT temporary AND database_name = current_database() UNION ALL "
    "SELECT 'view', schema_name, view_name, sql FROM duckdb_views() "
    "WHERE NOT internal AND NOT temporary AND database_name = current_database() UNION ALL "
    "SELECT 'index', schema_name, index_name, sql FROM duckdb_indexes() "
    "WHERE database_name = current_database() UNION ALL "
    "SELECT 'sequence', schema_name, sequence_name, NULL FROM duckdb_sequences() "
    "WHERE database_name = current_database() UNION ALL "
    "SELECT 'schema', schema_name, NULL, NULL FROM duckdb_schemas() "
    "WHERE NOT internal AND database_name = current_database() UNION ALL "
    "SELECT 'type', schema_name, type_name, NULL FROM duckdb_types() "
    "WHERE NOT internal AND database_name = current_database() ORDER BY ALL"
)


class WrongReplayError(ValueError):
    """The replay did not fail, and its result is wrong."""


@dataclass(frozen=True)
class Case:
    """What is to be judged."""

    path: Path
    wal_bytes: int
    """Of the WAL's copy, which ends with a transaction."""
    names: Collection[bytes] | None
    """Contents of WAL entries that name what was touched; None: everything counts as touched."""
    is_proof: bool
    """Whether to go all the way; else the WAL is replayed in memory and the rows are counted."""
    memory_bytes: int
    threads: int = 1


def judge(case: Case, say: Say) -> dict[str, Any]:
    """Return facts of what was read; whatever is raised is the verdict of a start, too.

    Raises:
        duckdb.Error: DuckDB cannot do it.
        MemoryError: it would need more memory.
        ValueError: it can, and the result is wrong.
    """
    try:
        return _prove(case, say) if case.is_proof else _replay(case, say)
    except duckdb.OutOfMemoryException as error:
        raise MemoryError(str(error)) from error


def _replay(case: Case, say: Say) -> dict[str, Any]:
    say("opening it")
    connection = _open(case, read_only=True)
    say("counting rows")
    tables = _count_tables(connection)
    connection.close()
    return {"tables": len(tables), "rows": sum(tables.values())}


def _prove(case: Case, say: Say) -> dict[str, Any]:
    say("opening it")
    connection = _open(case)
    _check_wal_was_kept(case)
    say("reading the catalog")
    catalog = connection.execute(_CATALOG).fetchall()
    say("counting rows")
    tables = _count_tables(connection)
    touched = [table for table in tables if case.names is None or _is_named(table, case.names)]
    before = {}
    for table in touched:
        say(f"reading table {table[0]}.{table[1]}")
        before[table] = _read(connection, table, tables[table])
    say("comparing look-ups by index with scans")
    checked = [table for table in touched if tables[table] <= _INDEXED_ROWS]
    damages = check_indexes(connection, checked, keys=_KEYS, probe_constraints=True)
    if damages:
        raise WrongReplayError("; ".join(str(damage) for damage in damages))
    say("running CHECKPOINT")
    connection.execute("CHECKPOINT")
    say("closing it")
    connection.close()
    say("opening it after CHECKPOINT")
    connection = _open(case, read_only=True)
    say("reading it after CHECKPOINT")
    if connection.execute(_CATALOG).fetchall() != catalog:
        raise WrongReplayError("the catalog after CHECKPOINT is not the one before it")
    later = _count_tables(connection)
    for table, rows in tables.items():
        if later.get(table) != rows:
            raise WrongReplayError(
                f"table {table[0]}.{table[1]} has {later.get(table)} rows after CHECKPOINT, "
                f"{rows} before it"
            )
    for table, digest in before.items():
        if digest is not None and _read(connection, table, tables[table]) != digest:
            raise WrongReplayError(
                f"table {table[0]}.{table[1]} has other rows after CHECKPOINT than before it"
            )
    connection.close()
    return {"tables": len(tables), "rows": sum(tables.values()), "touched": len(touched)}


def _open(case: Case, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    spill = case.path.with_name("spill")
    spill.mkdir(mode=0o700, exist_ok=True)
    return duckdb.connect(
        str(case.path),
        read_only=read_only,
        config={
            **OPENING_OPTIONS,
            "memory_limit": f"{case.memory_bytes}B",
            "threads": str(case.threads),
            "temp_directory": str(spill),
            "max_temp_directory_size": f"{2 * case.memory_bytes}B",
        },
    )


def _check_wal_was_kept(case: Case) -> None:
    """DuckDB cuts off what it takes for the end of a torn write, and says nothing."""
    wal = case.path.with_name(case.path.name + ".wal")
    kept = wal.stat().st_size if wal.exists() else 0
    if kept < case.wal_bytes:
        raise WrongReplayError(
            f"DuckDB replayed {kept:,} of {case.wal_bytes:,} bytes of the WAL and dropped the rest"
        )


def _count_tables(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], int]:
    found = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary "
        "AND database_name = current_database() ORDER BY ALL"
    ).fetchall()
    counts = {}
    for schema, table in found:
        row = connection.execute(
            f"SELECT count(*) FROM {located(connection, schema, table)}"
        ).fetchone()
        counts[schema, table] = int(row[0]) if row else 0
    return counts


def _is_named(table: tuple[str, str], names: Collection[bytes]) -> bool:
    # The name may be part of another one: then one table more is read.
    wanted = table[1].encode()
    return any(wanted in name for name in names)


def _read(
    connection: duckdb.DuckDBPyConnection, table: tuple[str, str], rows: int
) -> tuple[int, str] | None:
    """Read every column; return count and hash of a small table, None of a large one."""
    schema, name = table
    place = located(connection, schema, name)
    # The expression of a generated column may fail, which is no fault of the WAL.
    columns = stored_columns(connection, schema, name, place)
    if not columns:
        return None
    condition = ""
    if rows > _WHOLE_ROWS:
        last = connection.execute(f"SELECT max(rowid) FROM {place}").fetchone()
        condition = f" WHERE rowid > {int(last[0] if last and last[0] else 0) - _NEWEST_ROWS}"
    row = connection.execute(
        f"SELECT count(*), sum(hash({', '.join(columns)})::HUGEINT) FROM {place}{condition}"
    ).fetchone()
    if condition or row is None:
        return None
    return int(row[0]), str(row[1])
