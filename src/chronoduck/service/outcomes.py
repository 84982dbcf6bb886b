"""How a statement ended: what its record says, and whether the engine was to blame."""

from __future__ import annotations

from typing import Literal, TypedDict

from chronoduck.errors import (
    BatchError,
    CircuitBreakerOpenException,
    DuckDBException,
    DuckDBQueryError,
    DuckDBResourceError,
    EngineBugError,
    InvalidRequestError,
    LoadError,
    NotFoundError,
    PenaltyBoxError,
    PermissionDeniedError,
    QuotaExceededError,
    StatementCancelledError,
    StatementRefusedError,
    StatementTimeoutError,
)
from chronoduck.service.records import Outcome
from chronoduck.sql.engine_errors import EngineFailure
from chronoduck.sql.error_facts import type_behind

__all__ = [
    "Harm",
    "Reason",
    "harm_of",
    "is_infrastructure_failure",
    "outcome_of",
    "reason_of",
    "sentence_of",
]

Harm = Literal["internal_error", "engine_lost"]
"""``engine_lost``: the instance had to be reopened under everybody."""
_LONGEST_CHAIN = 8
"""Of errors that cause one another."""

_REFUSALS = (
    CircuitBreakerOpenException,
    DuckDBResourceError,
    PenaltyBoxError,
    PermissionDeniedError,
    QuotaExceededError,
)


def is_infrastructure_failure(error: BaseException | None) -> bool:
    """Whether the engine or the disk has failed, and a measurement has shown it.

    A full disk is no such failure: it stops writes alone, which are refused before they reach the
    engine. Neither is damage in one table: the others answer.
    """
    return isinstance(error, EngineFailure) and error.is_confirmed


def harm_of(error: BaseException | None) -> Harm | None:
    """Return what this one statement did to the engine; None: nothing that counts against anybody."""
    seen = 0
    while error is not None and seen < _LONGEST_CHAIN:
        if isinstance(error, EngineFailure):
            return "engine_lost" if error.is_statements_fault else None
        if isinstance(error, EngineBugError):
            return "internal_error"
        error, seen = _cause(error) if isinstance(error, BatchError) else error.__cause__, seen + 1
    return None


def _cause(error: BaseException | None) -> BaseException | None:
    return error.cause if isinstance(error, BatchError) else error


class Reason(TypedDict):
    """Why a statement failed, as its record has it."""

    error_code: str | None
    """Of ours."""
    error_type: str | None
    """DuckDB's."""
    rule: str | None
    """Of a refusal."""


def reason_of(error: BaseException | None) -> Reason:
    cause = _cause(error)
    return {
        "error_code": cause.code if isinstance(cause, DuckDBException) else None,
        "error_type": type_behind(cause),
        "rule": cause.rule if isinstance(cause, StatementRefusedError) else None,
    }


def outcome_of(error: BaseException | None) -> Outcome:
    error = _cause(error)
    if error is None:
        return "ok"
    if isinstance(error, StatementTimeoutError):
        return "timeout"
    if isinstance(error, StatementCancelledError) or not isinstance(error, Exception):
        return "cancelled"
    if isinstance(error, DuckDBQueryError | InvalidRequestError | LoadError | NotFoundError):
        return "user_error"
    if isinstance(error, _REFUSALS):
        return "refused"
    return "failed" if isinstance(error, DuckDBException) else "aborted"


def sentence_of(error: BaseException | None) -> str:
    """Return what everybody may read of a failure: a title of ours, no message."""
    return error.title.lower() if isinstance(error, DuckDBException) else "the engine failed"
