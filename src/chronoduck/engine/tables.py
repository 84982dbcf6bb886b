"""Tables as SQL that copies them needs them: quoted names, stored columns, an order that keys allow.

Imports nothing but DuckDB, for processes that must start quickly.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import duckdb

__all__ = [
    "fresh_catalog",
    "is_generated",
    "located",
    "parents_first",
    "quoted",
    "stored_columns",
    "with_database",
]

Row = TypeVar("Row", bound=tuple[Any, ...])
_COLUMNS = (
    "SELECT column_name FROM duckdb_columns() "
    "WHERE database_name = coalesce(?, current_database()) "
    "AND schema_name = ? AND table_name = ? ORDER BY column_index"
)
_PARENTS = (
    "SELECT DISTINCT schema_name, table_name, referenced_table FROM duckdb_constraints() "
    "WHERE constraint_type = 'FOREIGN KEY' AND database_name = ?"
)


def quoted(*names: str) -> str:
    """Return a name as SQL; several are joined with dots."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


class _Connection(Protocol):
    def execute(self, sql: str, /) -> Any: ...


def located(connection: _Connection, *names: str) -> str:
    """Return a name as SQL with its database before it.

    ``"sales"."t"`` is ambiguous to DuckDB when the file is ``sales.db``; so are the schemas ``temp`` and
    ``system``.
    """
    ((database,),) = connection.execute("SELECT current_database()").fetchall()
    return quoted(str(database), *names)


def fresh_catalog(word: str) -> str:
    """Return a name to attach a file under that no schema, and no other catalog, has."""
    return f"{word}_{os.urandom(8).hex()}"


def with_database(sql: str, schema: str, database: str) -> str:
    """Return DuckDB's own CREATE TABLE statement with the database before the schema."""
    for written in (schema, quoted(schema)):
        head = f"CREATE TABLE {written}."
        if sql.startswith(head):
            return f"CREATE TABLE {quoted(database, schema)}.{sql.removeprefix(head)}"
    return sql


def is_generated(connection: duckdb.DuckDBPyConnection, place: str, column: str) -> bool:
    """Whether a column of the table ``place`` is computed; only DuckDB's binder knows."""
    try:
        connection.execute(f"EXPLAIN INSERT INTO {place} ({quoted(column)}) SELECT NULL")
    except duckdb.BinderException:
        return True
    except duckdb.Error:
        return False
    return False


def stored_columns(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    table: str,
    place: str,
    *,
    database: str | None = None,
) -> list[str]:
    """Return the quoted names of a table's columns, in order, without the generated ones.

    ``place`` is the table that is asked whether a column is generated: the copy may lack expressions
    that the table of ``database`` (default: the current one) has.
    """
    found = connection.execute(_COLUMNS, [database, schema, table]).fetchall()
    return [quoted(name) for (name,) in found if not is_generated(connection, place, name)]


def parents_first(
    connection: duckdb.DuckDBPyConnection, database: str, tables: Sequence[Row]
) -> list[Row]:
    """Sort rows that begin with schema and table: the tables that foreign keys refer to come first.

    DuckDB allows no cycle of keys. Keys that a bug has damaged do not change the order.
    """
    parents: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for schema, table, referenced in connection.execute(_PARENTS, [database]).fetchall():
        if referenced != table:
            parents.setdefault((schema, table), set()).add((schema, referenced))
    waiting, ordered = list(tables), list[Row]()
    while waiting:
        done = {each[:2] for each in ordered}
        ready = [each for each in waiting if parents.get(each[:2], set()) <= done]
        ordered += ready or waiting
        waiting = [each for each in waiting if each not in ordered]
    return ordered
