"""What the service and an analyzer say to each other, as bytes."""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from typing import Any

import orjson

from chronoduck.errors import DuckDBException
from chronoduck.principals import Role
from chronoduck.sql.catalog_copy import CatalogCopy
from chronoduck.sql.definitions import Definitions, MacroBody, ViewBody
from chronoduck.sql.guard import Origin
from chronoduck.sql.scopes.names import Names
from chronoduck.sql.statements import Statement

__all__ = [
    "HEADER",
    "MAX_ANSWER_BYTES",
    "Answer",
    "FilterQuestion",
    "HandOver",
    "Question",
    "answer_frame",
    "error_fields",
    "frame",
]

HEADER = struct.Struct(">I")
"""The length of the message that follows, in bytes. An analyzer that is ready sends its
``KernelWalls`` in place of one."""
MAX_ANSWER_BYTES = 16_000_000


@dataclass(frozen=True, slots=True)
class HandOver:
    """The database's macros and views, which an analyzer cannot read itself; not answered.

    ``catalog``: tables and all others, too, once a statement was met that cannot be judged without.
    """

    version: int
    definitions: Definitions
    catalog: CatalogCopy | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A statement to be judged.

    ``created``: what the statements before it in a batch define; None outside of one.
    ``is_narrowed``: no view or macro is known, and the names in it are wanted, too.
    ``cpu_seconds``: how much the judgement may take; the analyzer dies of more.
    """

    sql: str
    role: Role
    origin: Origin
    created: tuple[MacroBody | ViewBody, ...] | None
    is_narrowed: bool
    cpu_seconds: float
    statements: tuple[str, ...] = ()
    """The DDL before it in a batch."""


@dataclass(frozen=True, slots=True)
class FilterQuestion:
    """A row filter of a table, to be read as one condition."""

    text: str
    table: str
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A judgement: the statement, or the error as its class's name, its text and its fields."""

    statement: Statement | None = None
    names: Names | None = None
    created: tuple[MacroBody | ViewBody, ...] = ()
    error: tuple[str, tuple[Any, ...], dict[str, Any]] | None = None
    cpu_seconds: float = 0.0
    is_tired: bool = False
    """Whether the analyzer has grown and is to be replaced."""
    statements: tuple[str, ...] = ()
    """The DDL of the batch so far, this statement's with it."""
    wants_catalog: bool = False
    """Whether a catalog, or a newer one, could change the judgement."""


def error_fields(error: DuckDBException) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """Return an error as values that can be sent."""
    return type(error).__name__, error.args, dict(vars(error))


def frame(message: object) -> bytes:
    """Return a message of the service with its length before it."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return HEADER.pack(len(body)) + body


def answer_frame(answer: Answer) -> bytes:
    """Return an answer with its length before it, as JSON: the service must not trust an analyzer.

    Raises:
        TypeError: it holds half a character, or a number beyond 64 bits.
    """
    body = orjson.dumps(answer, default=_plain)
    return HEADER.pack(len(body)) + body


def _plain(value: object) -> list[Any]:
    if isinstance(value, frozenset | set):
        return list(value)
    raise TypeError(f"a {type(value).__name__} cannot be sent")
