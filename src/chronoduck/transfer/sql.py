"""What the statements of a load are made of, and what runs them."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar
from urllib.parse import quote

import pyarrow as pa

from chronoduck.errors import LoadError
from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.table_names import parse_table_name

__all__ = [
    "SqlSession",
    "Transact",
    "TransactInTurn",
    "found_table",
    "quote_name",
    "quote_table",
    "quote_text",
    "split_table",
]

T = TypeVar("T")
_IS_SCHEMA = """
SELECT 1 FROM duckdb_schemas()
WHERE database_name = current_database() AND lower(schema_name) = lower($name)
"""
_NAMED_SO = """
SELECT table_name FROM duckdb_tables()
WHERE database_name = current_database() AND schema_name = 'main' AND lower(table_name) = lower($name)
"""


class SqlSession(Protocol):
    """Runs statements on one connection, inside a transaction."""

    def execute(
        self, sql: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> list[tuple[object, ...]]: ...

    def scan(self, name: str, reader: pa.RecordBatchReader) -> None:
        """Have ``name`` stand for the reader's rows, which can be read once."""


class Transact(Protocol):
    """Runs a function in a worker thread inside one transaction, and commits or rolls back."""

    def __call__(self, work: Callable[[SqlSession], T], /) -> Awaitable[T]: ...


class TransactInTurn(Protocol):
    """The same; of those that are given the same ``turn`` only one runs at a time.

    It is taken when the worker is there: nobody waits for another one's wait.
    """

    def __call__(
        self, work: Callable[[SqlSession], T], /, turn: threading.Lock | None = None
    ) -> Awaitable[T]: ...


def quote_name(name: str) -> str:
    """Return a name as SQL, whatever it is made of.

    Raises:
        LoadError: it holds a NUL byte, at which a statement may end.
    """
    if "\0" in name:
        shown = name.replace("\0", "\\0")[:100]
        raise LoadError(f"the name {shown} holds a NUL byte", hint="Rename the column or table.")
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """Return a text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def split_table(table: str) -> tuple[str, str]:
    """Return schema and name of ``table`` or ``schema.table``; parts may stand in double quotes.

    Raises:
        LoadError: a part is empty, there are more than two, or the schema is the service's own.
    """
    try:
        parts = parse_table_name(table)
        if len(parts) > 2:
            raise ValueError("it has more than two parts")
    except ValueError as error:
        raise LoadError(
            f"{table!r} is not a table name: {error}",
            hint="Write table or schema.table. A name with other signs stands in double quotes: "
            f"{_written(table)}.",
        ) from None
    schema, name = parts if len(parts) == 2 else ("main", parts[0])
    if schema.lower() == OWN_SCHEMA:
        raise LoadError(f"the tables of {OWN_SCHEMA} are written by the service alone")
    return schema, name


def found_table(session: SqlSession, table: str) -> str:
    """Return a name with a point as it is meant: of a table in a schema, or of a table named so.

    Raises:
        LoadError: there is neither such a schema nor such a table.
    """
    try:
        parts = parse_table_name(table)
    except ValueError:
        return table  # refused by whoever splits it
    if len(parts) < 2 or session.execute(_IS_SCHEMA, {"name": parts[0]}):
        return table
    named_so = [] if '"' in table else session.execute(_NAMED_SO, {"name": table})
    if named_so:
        return quote_name(str(named_so[0][0]))
    raise LoadError(
        f"there is no schema {parts[0]}, and no table named {table}",
        hint=f"Nothing was loaded. Create the schema first: CREATE SCHEMA {quote_name(parts[0])}. "
        f"For a table whose name has a point in it, write {_written(table)}.",
    )


def _written(table: str) -> str:
    """Return how a table of just this name is named: as a path of HTTP, which each door rewords."""
    return f"`tables/{quote(quote_name(table), safe='')}/rows`"


def quote_table(table: str, database: str) -> str:
    """Return ``table`` or ``schema.table`` of a database as SQL, every part quoted.

    Raises:
        LoadError: it is no name of a table that can be loaded.
    """
    # A schema's name could be that of another catalogue, such as one of a narrowed key.
    return ".".join(quote_name(part) for part in (database, *split_table(table)))
