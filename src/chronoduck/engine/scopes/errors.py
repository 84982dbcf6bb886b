"""Errors of narrowed statements without a word about what is outside their scope."""

from __future__ import annotations

from chronoduck.errors import BatchError, DuckDBException, DuckDBQueryError, StatementRefusedError
from chronoduck.sql.error_text import before_any

__all__ = ["is_about_names", "scrubbed"]

_GUESSES = (
    "Did you mean",
    "Candidate",
    "Possible solution",
    "Hint:",
    "- use a fully qualified",
    "because schema",
)
"""DuckDB's words before what it guesses; everything behind them goes."""


def scrubbed(error: DuckDBException) -> DuckDBException:
    """Return the error without DuckDB's guesses at what was meant: they search every catalogue."""
    if isinstance(error, BatchError):
        return BatchError(
            error.index, error.sql, scrubbed(error.cause), rolled_back=error.rolled_back
        )
    if not isinstance(error, DuckDBQueryError) or isinstance(error, StatementRefusedError):
        return error
    if error.category not in ("binder", "catalog"):
        return error
    told = type(error)(
        before_any(error.detail, _GUESSES),
        hint="SHOW TABLES and GET tables list what this key sees.",
        operator_detail=error.operator_detail,
        category=error.category,
        line=error.line,
        column=error.column,
    )
    told.missing = error.missing
    return told


def is_about_names(error: DuckDBException) -> bool:
    """Whether a catalogue that is behind the database's could be the reason for the error."""
    cause = error.cause if isinstance(error, BatchError) else error
    return isinstance(cause, DuckDBQueryError) and cause.category in ("binder", "catalog")
