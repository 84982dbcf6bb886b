"""What the statements of a load are made of, and what runs them."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import pyarrow as pa

from chronoduck.errors import LoadError
from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.table_names import parse_table_name

__all__ = [
    "SqlSession",
    "Transact",
    "TransactInTurn",
    "quote_name",
    "quote_table",
    "quote_text",
    "split_table",
]

T = TypeVar("T")


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
            hint='Write table or schema.table, and parts with a point in double quotes: "a.b".',
        ) from None
    schema, name = parts if len(parts) == 2 else ("main", parts[0])
    if schema.lower() == OWN_SCHEMA:
        raise LoadError(f"the tables of {OWN_SCHEMA} are written by the service alone")
    return schema, name


def quote_table(table: str, database: str) -> str:
    """Return ``table`` or ``schema.table`` of a database as SQL, every part quoted.

    Raises:
        LoadError: it is no name of a table that can be loaded.
    """
    # A schema's name could be that of another catalogue, such as one of a narrowed key.
    return ".".join(quote_name(part) for part in (database, *split_table(table)))
