"""Rows into the target, each call inside one transaction together with what is known of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from chronoduck.sync.failures import SyncDataError
from chronoduck.sync.source import quoted
from chronoduck.sync.target import TargetColumn, TargetPlan

__all__ = [
    "Merged",
    "TableSession",
    "apply_changes",
    "check_target_key",
    "delete_missing",
    "describe",
    "has_rows",
    "merge",
    "replace",
]

_BATCH, _ROWS = "chronoduck_sync_batch", "chronoduck_sync_rows"
_KEYS = "chronoduck_sync_keys"
_COLUMNS = """
SELECT column_name, data_type FROM duckdb_columns()
WHERE database_name = current_database() AND schema_name = $schema AND table_name = $table
ORDER BY column_index
"""


class TableSession(Protocol):
    """Runs statements on one connection inside a transaction; may read an Arrow table by a name."""

    def execute(
        self, sql: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]: ...

    def scan(self, name: str, rows: pa.Table) -> None: ...


@dataclass(frozen=True)
class Merged:
    """What a transaction did to the target."""

    added: int = 0
    changed: int = 0
    deleted: int = 0

    def __add__(self, other: Merged) -> Merged:
        return Merged(
            self.added + other.added, self.changed + other.changed, self.deleted + other.deleted
        )


def describe(session: TableSession, schema: str, table: str) -> list[tuple[str, str]] | None:
    """Return names and types of a table's columns, None when there is no such table."""
    return session.execute(_COLUMNS, {"schema": schema, "table": table}) or None


def has_rows(session: TableSession, plan: TargetPlan) -> bool:
    """Whether the target holds rows that the sync would take for its own."""
    if {name for name, _ in plan.constants} & {column.name for column in plan.added}:
        return False  # none is marked yet
    where, params = _owned(plan, "t")
    return bool(session.execute(f"SELECT 1 FROM {_name(session, plan)} t{where} LIMIT 1", params))


def replace(session: TableSession, plan: TargetPlan, tables: Sequence[pa.Table]) -> Merged:
    """Put the rows in the place of all that are the sync's; readers see the old ones until commit."""
    name = _name(session, plan)
    if plan.create is not None:
        session.execute(plan.create.replace(plan.name, name, 1))
    where, params = _owned(plan, "t")
    deleted = _count(session.execute(f"DELETE FROM {name} AS t{where}", params))
    if not tables:
        return Merged(deleted=deleted)
    session.scan(_BATCH, pa.concat_tables(tables))
    # They came by several connections in no order: kept in that, they are stored a third slower.
    session.execute("SET SESSION preserve_insertion_order = false")
    added = _insert(session, plan, name, _cast(plan.columns, _BATCH))
    return Merged(added=added, deleted=deleted)


def merge(session: TableSession, plan: TargetPlan, table: pa.Table) -> Merged:
    """Add new rows and change those whose key is there; rows that are equal are left alone.

    Columns of the target that the sync does not know keep their values.

    Raises:
        SyncDataError: the key is empty somewhere, or not unique.
    """
    name = _name(session, plan)
    if plan.create is not None:
        create = plan.create.replace(plan.name, name, 1)
        session.execute(create.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1))
    session.scan(_BATCH, table)
    session.execute(f"CREATE OR REPLACE TEMP TABLE {_ROWS} AS {_cast(plan.columns, _BATCH)}")
    _check_key(session, plan, f"temp.main.{_ROWS}")
    owned, params = _owned(plan, "t", " AND ")
    same = _same_key(plan.key)
    others = [each for each in plan.columns if each not in plan.key]
    changed = 0
    if others:
        sets = ", ".join(f"{quoted(c.name)} = r.{quoted(c.name)}" for c in others)
        differs = " OR ".join(f"{_value('t', c)} IS DISTINCT FROM {_value('r', c)}" for c in others)
        changed = _count(
            session.execute(
                f"UPDATE {name} AS t SET {sets} FROM temp.main.{_ROWS} r "
                f"WHERE {same}{owned} AND ({differs})",
                params,
            )
        )
    new = f"WHERE NOT EXISTS (SELECT 1 FROM {name} t WHERE {same}{owned})"
    added = _insert(session, plan, name, f"SELECT r.* FROM temp.main.{_ROWS} r {new}")
    session.execute(f"DROP TABLE temp.main.{_ROWS}")
    return Merged(added=added, changed=changed)


def delete_missing(session: TableSession, plan: TargetPlan, keys: pa.Table | None) -> Merged:
    """Delete the sync's rows whose keys the source no longer has."""
    name = _name(session, plan)
    if keys is None:
        where, params = _owned(plan, "t")
        return Merged(deleted=_count(session.execute(f"DELETE FROM {name} AS t{where}", params)))
    session.scan(_BATCH, keys)
    owned, params = _owned(plan, "t", " AND ")
    return Merged(
        deleted=_count(
            session.execute(
                f"DELETE FROM {name} AS t WHERE NOT EXISTS (SELECT 1 FROM "
                f"({_cast(plan.key, _BATCH)}) r WHERE {_same_key(plan.key)}){owned}",
                params,
            )
        )
    )


def apply_changes(
    session: TableSession, plan: TargetPlan, keys: pa.Table, rows: pa.Table | None
) -> Merged:
    """Have rows with these keys be the given ones: others are deleted.

    Deleted first: a row may have another's key now, or another's unique value.
    """
    name = _name(session, plan)
    session.scan(_KEYS, keys)
    gone = _cast(plan.key, _KEYS)
    if rows is not None:
        session.scan(_BATCH, rows)
        gone += f" EXCEPT {_cast(plan.key, _BATCH)}"
    owned, params = _owned(plan, "t", " AND ")
    deleted = _count(
        session.execute(
            f"DELETE FROM {name} AS t USING ({gone}) r WHERE {_same_key(plan.key)}{owned}", params
        )
    )
    merged = Merged(deleted=deleted)
    return merged if rows is None else merged + merge(session, plan, rows)


def alters(session: TableSession, plan: TargetPlan) -> list[str]:
    """Return the statements that add what is new, for the database of the session."""
    return [sql.replace(plan.name, _name(session, plan), 1) for sql in plan.alters]


def _name(session: TableSession, plan: TargetPlan) -> str:
    """Return the table as SQL with its database: a schema's name could be another catalogue's."""
    return f"{quoted(str(session.execute('SELECT current_database()')[0][0]))}.{plan.name}"


def _cast(columns: Sequence[TargetColumn], relation: str) -> str:
    items = ", ".join(f"CAST({quoted(c.source)} AS {c.type}) AS {quoted(c.name)}" for c in columns)
    return f"SELECT {items} FROM {relation}"


def _insert(session: TableSession, plan: TargetPlan, name: str, select: str) -> int:
    """Add the rows of a SELECT, with the constants, which it may use, too."""
    names = [column.name for column in plan.columns] + [each for each, _ in plan.constants]
    given = {f"c{index}": value for index, (_, value) in enumerate(plan.constants)}
    values = "".join(f", ${key}" for key in given)
    return _count(
        session.execute(
            f"INSERT INTO {name} ({', '.join(map(quoted, names))}) SELECT s.*{values} FROM "
            f"({select}) s",
            given or None,
        )
    )


def _owned(
    plan: TargetPlan, alias: str, before: str = " WHERE "
) -> tuple[str, dict[str, object] | None]:
    """Return the condition that rows are the sync's, and its values."""
    if not plan.constants:
        return "", None
    conditions = [
        f"{alias}.{quoted(name)} = $c{index}" for index, (name, _) in enumerate(plan.constants)
    ]
    values = {f"c{index}": value for index, (_, value) in enumerate(plan.constants)}
    return before + " AND ".join(conditions), values


def _same_key(key: Sequence[TargetColumn]) -> str:
    return " AND ".join(f"t.{quoted(each.name)} = r.{quoted(each.name)}" for each in key)


def _value(alias: str, column: TargetColumn) -> str:
    """Return a value to compare: 30 days are a month to DuckDB, but not the same interval."""
    name = f"{alias}.{quoted(column.name)}"
    return f"{name}::VARCHAR" if "INTERVAL" in column.type else name


def check_target_key(session: TableSession, plan: TargetPlan) -> None:
    """See that no two of the sync's rows have the same key.

    Raises:
        SyncDataError: the key is empty somewhere, or not unique.
    """
    where, params = _owned(plan, "t")
    _check_key(session, plan, f"{_name(session, plan)} t{where}", params)


def _check_key(
    session: TableSession, plan: TargetPlan, rows: str, params: dict[str, object] | None = None
) -> None:
    names = ", ".join(quoted(each.name) for each in plan.key)
    empty = " OR ".join(f"{quoted(each.name)} IS NULL" for each in plan.key)
    total, unique, missing = session.execute(
        f"SELECT count(*), count(DISTINCT ({names})), count(*) FILTER ({empty}) FROM {rows}",
        params,
    )[0]
    words = ", ".join(each.source for each in plan.key)
    if missing:
        raise SyncDataError(
            f"{missing} rows of the source have no {words}",
            hint="A key is never NULL: choose another.",
        )
    if unique < total:
        raise SyncDataError(
            f"the key {words} is not unique in the source: {total - unique} rows too many",
            hint='Name columns that are unique together, or use mode = "full".',
        )


def _count(rows: Sequence[tuple[Any, ...]]) -> int:
    return int(rows[0][0]) if rows else 0
