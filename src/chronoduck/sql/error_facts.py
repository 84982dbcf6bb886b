"""What DuckDB itself says of an error: its type, error number, position; never what a user wrote.

The class of an exception is DuckDB's. Its text is JSON (``errors_as_json``), but a message that a user
wrote may be JSON, too: ``error('{"exception_type":"FATAL",...}')``. DuckDB then takes that text as it is
(1.5.5 and 2.0.1), yet the class stays ``InvalidInputException``. So JSON counts only where its type is
the type of the class.

pyarrow wraps every error of a stream in an OSError. There the type is what stands at the very beginning
of the text, where DuckDB writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb
import orjson

from chronoduck.errors import BatchError, DuckDBQueryError
from chronoduck.sql.error_text import without_stack_trace

__all__ = ["ErrorFacts", "read_facts", "type_behind"]

_TYPES: dict[type[BaseException], str] = {
    duckdb.BinderException: "Binder",
    duckdb.CatalogException: "Catalog",
    duckdb.ConnectionException: "Connection",
    duckdb.ConstraintException: "Constraint",
    duckdb.ConversionException: "Conversion",
    duckdb.DependencyException: "Dependency",
    duckdb.FatalException: "FATAL",
    duckdb.HTTPException: "HTTP",
    duckdb.IOException: "IO",
    duckdb.InternalException: "INTERNAL",
    duckdb.InterruptException: "INTERRUPT",
    duckdb.InvalidInputException: "Invalid Input",
    duckdb.InvalidTypeException: "Invalid type",
    duckdb.NotImplementedException: "Not implemented",
    duckdb.OutOfMemoryException: "Out of Memory",
    duckdb.OutOfRangeException: "Out of Range",
    duckdb.ParserException: "Parser",
    duckdb.PermissionException: "Permission",
    duckdb.SequenceException: "Sequence",
    duckdb.SerializationException: "Serialization",
    duckdb.SyntaxException: "Syntax",
    duckdb.TransactionException: "TransactionContext",
    duckdb.TypeMismatchException: "Mismatch Type",
}

_KNOWN_TYPES = frozenset(_TYPES.values()) | {"Data Corruption"}
_KNOWN_CATEGORIES = frozenset(known.lower().replace(" ", "_") for known in _KNOWN_TYPES)

_LATE = "Attempting to execute an unsuccessful or closed pending query result\nError: "
"""DuckDB 1.5 puts this before an error that it met while rows were fetched; the class is lost then."""
_LONGEST_TYPE = 32
_LONGEST_CHAIN = 8
"""Of errors that cause one another."""


@dataclass(frozen=True)
class ErrorFacts:
    """One error of the engine."""

    type: str
    """DuckDB's name: "Invalid Input", "IO", "FATAL", ..."""
    message: str
    """May hold anything that a user wrote; without a stack trace."""
    subtype: str = ""
    """"MISSING_ENTRY", ..."""
    subject_type: str = ""
    """What is missing: "Table", "Scalar Function", ..."""
    subject: str = ""
    """Its name."""
    errno: int | None = None
    """The operating system's number."""
    position: int | None = None
    """In the statement."""
    candidates: str = ""

    @property
    def category(self) -> str:
        """The type in snake case."""
        return self.type.strip().lower().replace(" ", "_")


def read_facts(error: BaseException) -> ErrorFacts:
    """Return what is known of an error of DuckDB's client, or of pyarrow's."""
    if isinstance(error, UnicodeDecodeError):  # DuckDB quotes names of its own that are not UTF-8
        text = error.object.decode(errors="replace").partition("\n\nLINE ")[0]
        return _from_beginning(text, type(error).__name__)
    text = str(error)
    known = _TYPES.get(type(error))
    if known is None:
        return _from_beginning(text, type(error).__name__.removesuffix("Exception"))
    rest = text.removeprefix(f"{known} Error: ")
    if rest.startswith(_LATE):
        return _from_beginning(rest.removeprefix(_LATE), known)
    return _from_json(rest, known) or ErrorFacts(known, without_stack_trace(rest))


def type_behind(error: BaseException | None) -> str | None:
    """Return DuckDB's type of the error behind one of ours, in snake case; None: there is none.

    One of the types that are known here, else ``other``: never a word that a user wrote.
    """
    for _ in range(_LONGEST_CHAIN):
        if error is None:
            break
        if isinstance(error, DuckDBQueryError) and error.category in _KNOWN_CATEGORIES:
            return error.category  # of a scoped statement this is all that is left
        facts = read_facts(error)
        if facts.type in _KNOWN_TYPES:
            return facts.category
        if isinstance(error, duckdb.Error):
            return "other"
        error = error.cause if isinstance(error, BatchError) else error.__cause__
    return None


def _from_beginning(text: str, otherwise: str) -> ErrorFacts:
    """Take the type from where DuckDB writes it: JSON of its own, or ``<type> Error: `` before all."""
    facts = _from_json(text, None)
    if facts is not None:
        return facts
    type_, separator, rest = text[: _LONGEST_TYPE + 8].partition(" Error: ")
    if not separator or not type_.replace(" ", "").isalpha():
        return ErrorFacts(otherwise, without_stack_trace(text))
    rest = text[len(type_) + len(separator) :]
    return _from_json(rest, type_) or ErrorFacts(type_, without_stack_trace(rest))


def _from_json(text: str, type_: str | None) -> ErrorFacts | None:
    """Return what a JSON text says, if it is one of that type (None: of any)."""
    if not text.startswith("{"):
        return None
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("exception_message"), str):
        return None
    told = parsed.get("exception_type")
    if not isinstance(told, str) or (type_ is not None and told != type_):
        return None
    return ErrorFacts(
        told,
        without_stack_trace(parsed["exception_message"]),
        subtype=_text(parsed, "error_subtype"),
        subject_type=_text(parsed, "type"),
        subject=_text(parsed, "name"),
        errno=_number(parsed, "errno"),
        position=_number(parsed, "position"),
        candidates=_text(parsed, "candidates"),
    )


def _text(parsed: dict[str, Any], name: str) -> str:
    value = parsed.get(name)
    return value if isinstance(value, str) else ""


def _number(parsed: dict[str, Any], name: str) -> int | None:
    value = _text(parsed, name)
    return int(value) if len(value) < 10 and value.isascii() and value.isdigit() else None
