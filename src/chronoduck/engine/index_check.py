"""Comparison of what an index returns with what a scan of its table returns.

DuckDB reads its secondary indexes only for equality and IN on one column or expression, so a broken
index stays unseen until somebody asks for the one key that it lost. Run this on a private copy.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import duckdb

from chronoduck.engine.tables import located, quoted
from chronoduck.sql.error_facts import read_facts

__all__ = ["IndexDamage", "check_indexes"]

_KEYS = 10_000
_NEWEST_ROWS = 2_000
"""Rows at a table's end whose keys are always looked up: a replayed WAL appends there."""
_KEYS_A_LOOKUP = 500
_LOOKUPS, _SMALL_LOOKUP = 40, 10
"""So many for an index, if each names ten keys: two keys that changed places hide inside one look-up."""
_SINGLE_LOOKUPS = 200
"""DuckDB uses an index on an expression for ``=`` alone, so that each key costs a statement."""
_FORCE_INDEX = {"index_scan_percentage": "1.0", "index_scan_max_count": "1000000000"}
_UNRELATED = (
    duckdb.OutOfMemoryException,
    duckdb.InterruptException,
    duckdb.TransactionException,
)
"""Errors of a look-up that say nothing about the index."""
_OF_EXPRESSIONS = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.NotImplementedException,
    duckdb.OutOfRangeException,
    duckdb.ParserException,
    duckdb.TypeMismatchException,
)
"""What an expression raises that a user has indexed, by words of the user's own: no sign of damage."""


@dataclass(frozen=True)
class IndexDamage:
    """An index whose answers differ from those of its table."""

    schema: str
    table: str
    index: str
    reason: str
    """What differs, or DuckDB's error."""
    is_constraint: bool = False
    """Whether a PRIMARY KEY or UNIQUE constraint owns the index; DROP INDEX cannot remove such a one."""

    def __str__(self) -> str:
        return f"index {self.index} of {self.schema}.{self.table}: {self.reason}"


@dataclass(frozen=True)
class _Index:
    schema: str
    table: str
    name: str
    keys: tuple[str, ...]
    """SQL of each key."""
    is_unique: bool
    is_constraint: bool
    source: str
    """The table as SQL."""

    def damage(self, reason: str) -> IndexDamage:
        return IndexDamage(self.schema, self.table, self.name, reason, self.is_constraint)


@dataclass(frozen=True)
class _Sample:
    """One key as the scan found it."""

    literal: str
    rows: int
    digest: int


class _CannotJudgeError(Exception):
    """The indexed expression raises an error of its own."""


class _LookupFailedError(Exception):
    """DuckDB raised an error while it read an index."""


def check_indexes(
    connection: duckdb.DuckDBPyConnection,
    tables: Collection[tuple[str, str]] | None = None,
    *,
    keys: int | None = _KEYS,
    probe_constraints: bool = False,
) -> list[IndexDamage]:
    """Compare look-ups by every index with a scan of its table; return the indexes that differ.

    ``tables`` limits the check to these pairs of schema and table. ``keys`` limits how many keys of
    each index are looked up (None: all); the keys of the newest rows are always among them.
    ``probe_constraints`` also checks PRIMARY KEY and UNIQUE over several columns, which no look-up
    reads: it inserts every row again in a transaction that it rolls back, so it needs a writable
    connection. Changes settings of the instance while it runs; it restores them.

    Raises:
        duckdb.Error: a table cannot be scanned, or memory ran out; the indexes are not judged then.
    """
    damages = []
    for index in _find_indexes(connection, tables):
        try:
            reason = ""
            if len(index.keys) == 1:
                reason = _compare(connection, index, keys)
            elif probe_constraints and index.is_unique:
                reason = _probe(connection, index)
        except _CannotJudgeError:
            continue
        except _LookupFailedError as error:
            damages.append(index.damage(str(error)))
            if not _is_alive(connection):
                break  # the error was fatal: this instance answers nothing any more
        else:
            if reason:
                damages.append(index.damage(reason))
    return damages


def _find_indexes(
    connection: duckdb.DuckDBPyConnection, tables: Collection[tuple[str, str]] | None
) -> list[_Index]:
    rows = connection.execute(
        "SELECT schema_name, table_name, index_name, expressions::VARCHAR[], is_unique, false "
        "FROM duckdb_indexes() WHERE database_name = current_database() "
        "UNION ALL SELECT schema_name, table_name, coalesce(constraint_name, constraint_text), "
        "[chr(34) || replace(name, chr(34), chr(34) || chr(34)) || chr(34) "
        "FOR name IN constraint_column_names], true, true "
        "FROM duckdb_constraints() WHERE database_name = current_database() "
        "AND constraint_type IN ('PRIMARY KEY', 'UNIQUE') ORDER BY ALL"
    ).fetchall()
    found = [
        _Index(row[0], row[1], row[2], tuple(row[3]), row[4], row[5], place)
        for row in rows
        for place in (located(connection, row[0], row[1]),)
    ]
    return [index for index in found if tables is None or (index.schema, index.table) in tables]


def _compare(connection: duckdb.DuckDBPyConnection, index: _Index, keys: int | None) -> str:
    """Return what differs between look-ups and the scan, nothing when they agree."""
    samples = _scan(connection, index, keys)
    if not samples:
        return ""
    with _forced_index(connection):
        size = _lookup_size(connection, index, samples)
        if size == 0:
            return ""  # DuckDB reads this index for no query
        if size == 1 and keys is not None:
            samples = samples[:_SINGLE_LOOKUPS]
        size = min(size, max(_SMALL_LOOKUP, -(-len(samples) // _LOOKUPS)))
        count = -(-len(samples) // size)
        # Neighbors go to different look-ups.
        for chunk in (samples[start::count] for start in range(count)):
            found = _look_up(connection, index, chunk)
            expected = sum(each.rows for each in chunk), sum(each.digest for each in chunk)
            if found != expected:
                which = "" if found[0] != expected[0] else ", but other ones"
                return (
                    f"look-ups of {len(chunk)} keys return {found[0]} rows, "
                    f"a scan finds {expected[0]}{which}"
                )
    return ""


def _scan(connection: duckdb.DuckDBPyConnection, index: _Index, keys: int | None) -> list[_Sample]:
    """Return keys and their rows; the newest ones and a sample chosen by hash."""
    key = index.keys[0]
    (total, last) = connection.execute(
        f"SELECT count({key}), max(rowid) FROM {index.source}"
    ).fetchone() or (0, None)
    if not total:
        return []
    step = 1 if keys is None else -(-total // max(1, keys))
    chosen = f"hash({key}) % {step} = 0"
    if step > 1:
        oldest = last - min(keys or 0, _NEWEST_ROWS)
        chosen += f" OR {key} IN (SELECT {key} FROM {index.source} WHERE rowid > {oldest})"
    rows = connection.execute(
        f"SELECT ({key})::VARCHAR, count(*), sum(hash(rowid))::HUGEINT FROM {index.source} "
        f"WHERE ({chosen}) AND {key} IS NOT NULL GROUP BY {key} "
        f"ORDER BY max(rowid) DESC {'' if keys is None else f'LIMIT {keys + min(keys, _NEWEST_ROWS)}'}"
    ).fetchall()
    # The parser ends a statement at a NUL.
    return [_Sample(_literal(row[0]), row[1], row[2]) for row in rows if "\0" not in row[0]]


def _lookup_size(
    connection: duckdb.DuckDBPyConnection, index: _Index, samples: Sequence[_Sample]
) -> int:
    """Return how many keys one look-up by this index may name; 0: DuckDB does not use it."""
    # Three keys apart from each other: DuckDB turns a list of neighbors into a range, and scans.
    apart = samples[:: max(1, len(samples) // 3)][:3]
    for size, chunk in ((_KEYS_A_LOOKUP, apart), (1, samples[:1])):
        told = _fetch(connection, f"EXPLAIN (ANALYZE, FORMAT json) {_lookup_sql(index, chunk)}")
        if _scans_index(json.loads(told[0][1])):
            return size
    return 0


def _scans_index(plan: Any) -> bool:
    """Whether an operator of a plan says of itself that it reads an index, whatever names users gave."""
    if isinstance(plan, list):
        return any(map(_scans_index, plan))
    if not isinstance(plan, dict):
        return False
    extra = plan.get("extra_info")
    if isinstance(extra, dict) and extra.get("Type") == "Index Scan":
        return True
    return any(map(_scans_index, (each for each in plan.values() if isinstance(each, list | dict))))


def _look_up(
    connection: duckdb.DuckDBPyConnection, index: _Index, chunk: Sequence[_Sample]
) -> tuple[int, int]:
    rows = _fetch(connection, _lookup_sql(index, chunk))
    return rows[0][0], rows[0][1] or 0


def _lookup_sql(index: _Index, chunk: Sequence[_Sample]) -> str:
    literals = ", ".join(sample.literal for sample in chunk)
    condition = f"= {literals}" if len(chunk) == 1 else f"IN ({literals})"
    return (
        f"SELECT count(*), sum(hash(rowid))::HUGEINT FROM {index.source} "
        f"WHERE {index.keys[0]} {condition}"
    )


def _probe(connection: duckdb.DuckDBPyConnection, index: _Index) -> str:
    """Insert every row again; return which ones a unique index does not know."""
    keys = ", ".join(index.keys)
    present = " AND ".join(f"{key} IS NOT NULL" for key in index.keys)
    names = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE database_name = current_database() "
        "AND schema_name = ? AND table_name = ? ORDER BY column_index",
        [index.schema, index.table],
    ).fetchall()
    columns = ", ".join(quoted(name) for (name,) in names)
    connection.execute("BEGIN")
    try:
        rows = connection.execute(
            f"INSERT INTO {index.source} ({columns}) SELECT {columns} FROM {index.source} "
            f"WHERE {present} ON CONFLICT ({keys}) DO NOTHING"
        ).fetchone()
        unknown = int(rows[0]) if rows else 0
        return f"it does not know {unknown} rows of the table" if unknown else ""
    except duckdb.ConstraintException:
        return "it does not know a row that another index knows"
    except (duckdb.BinderException, duckdb.CatalogException):
        return ""  # nothing can be inserted: a generated column, a default whose sequence is gone
    except _UNRELATED:
        raise
    except duckdb.Error as error:
        raise _LookupFailedError(_first_line(error)) from error
    finally:
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")


def _fetch(connection: duckdb.DuckDBPyConnection, text: str) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(text).fetchall()
    except _UNRELATED:
        raise
    except _OF_EXPRESSIONS as error:
        raise _CannotJudgeError from error
    except duckdb.Error as error:
        raise _LookupFailedError(_first_line(error)) from error


def _is_alive(connection: duckdb.DuckDBPyConnection) -> bool:
    try:
        connection.execute("SELECT 1")
    except duckdb.Error:
        return False
    return True


@contextmanager
def _forced_index(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Make DuckDB use indexes for keys of any number of rows, where settings may be changed."""
    old = {
        name: connection.execute("SELECT current_setting(?)", [name]).fetchone()
        for name in _FORCE_INDEX
    }
    try:
        with suppress(duckdb.InvalidInputException):  # the configuration is locked
            for name, value in _FORCE_INDEX.items():
                connection.execute(f"SET {name} = {value}")
        yield
    finally:
        with suppress(duckdb.Error):
            for name, row in old.items():
                if row is not None:
                    connection.execute(f"SET {name} = {row[0]}")


def _first_line(error: duckdb.Error) -> str:
    return read_facts(error).message.splitlines()[0]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
