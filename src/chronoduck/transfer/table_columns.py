"""What columns a table has, and which of them a file fills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chronoduck.errors import LoadError
from chronoduck.transfer.sql import SqlSession, quote_name, split_table

__all__ = ["Filled", "TableColumn", "columns_of", "create_statement", "match_columns"]

_COLUMNS = """
SELECT column_name, data_type, is_nullable, column_default IS NOT NULL
FROM duckdb_columns()
WHERE database_name = current_database()
  AND lower(schema_name) = lower($schema) AND lower(table_name) = lower($table)
ORDER BY column_index
"""
_NAMED = 10


@dataclass(frozen=True)
class TableColumn:
    """A column of a table; ``type`` is DuckDB's."""

    name: str
    type: str
    is_nullable: bool = True
    has_default: bool = False


@dataclass(frozen=True)
class Filled:
    """A column of the table and the name that it has in the file."""

    column: TableColumn
    source: str


def columns_of(session: SqlSession, table: str) -> list[TableColumn]:
    """Return a table's columns in order; none when there is no such table."""
    schema, name = split_table(table)
    rows = session.execute(_COLUMNS, {"schema": schema, "table": name})
    return [
        TableColumn(str(name), str(type_), bool(nullable), bool(default))
        for name, type_, nullable, default in rows
    ]


def create_statement(quoted_table: str, columns: Sequence[TableColumn]) -> str:
    """Return the statement that makes a table of these columns."""
    described = ", ".join(f"{quote_name(column.name)} {column.type}" for column in columns)
    return f"CREATE TABLE {quoted_table} ({described})"


def match_columns(
    names: Sequence[str], columns: Sequence[TableColumn], table: str, source: str
) -> list[Filled]:
    """Return which column each name of the file fills, in the table's order; case is ignored.

    Raises:
        LoadError: names the columns that the table does not have, that are there twice, or that
            must be filled and are missing.
    """
    given: dict[str, str] = {}
    for name in names:
        if name.lower() in given:
            raise LoadError(
                f"{source} has the column {name} twice; case is ignored",
                hint="Nothing was loaded.",
            )
        given[name.lower()] = name
    known = {column.name.lower() for column in columns}
    unknown = [name for folded, name in given.items() if folded not in known]
    if unknown:
        raise LoadError(
            f"{table} has no column {_listed(unknown)}",
            hint=f"Nothing was loaded. It has {_listed([column.name for column in columns])}.",
        )
    missing = [
        column.name
        for column in columns
        if column.name.lower() not in given and not column.is_nullable and not column.has_default
    ]
    if missing:
        raise LoadError(
            f"{source} lacks {_listed(missing)}, which {table} cannot do without (NOT NULL)",
            hint="Nothing was loaded.",
        )
    return [
        Filled(column, given[column.name.lower()])
        for column in columns
        if column.name.lower() in given
    ]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
