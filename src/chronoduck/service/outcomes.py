"""How a statement ended: what its record says, and whether the engine was to blame."""

from __future__ import annotations

from chronoduck.engine.failures import DamagedFileError, EngineFailure
from chronoduck.errors import (
    BatchError,
    CircuitBreakerOpenException,
    DuckDBException,
    DuckDBQueryError,
    DuckDBResourceError,
    InvalidRequestError,
    NotFoundError,
    PenaltyBoxError,
    PermissionDeniedError,
    QuotaExceededError,
    StatementCancelledError,
    StatementRefusedError,
    StatementTimeoutError,
)
from chronoduck.service.records import Outcome

__all__ = ["code_of", "is_infrastructure_failure", "outcome_of", "rule_of"]

_REFUSALS = (
    CircuitBreakerOpenException,
    DuckDBResourceError,
    PenaltyBoxError,
    PermissionDeniedError,
    QuotaExceededError,
)


def is_infrastructure_failure(error: BaseException | None) -> bool:
    """Whether the error is the engine's, not the caller's."""
    # A full disk stops writes alone, which are refused before they reach the engine; and one lost
    # instance is one failure, not one per caller.
    if isinstance(error, DamagedFileError) and not error.is_fatal:
        return False  # the other tables answer
    return isinstance(error, EngineFailure) and not error.had_no_effect


def _cause(error: BaseException | None) -> BaseException | None:
    return error.cause if isinstance(error, BatchError) else error


def code_of(error: BaseException | None) -> str | None:
    cause = _cause(error)
    return cause.code if isinstance(cause, DuckDBException) else None


def rule_of(error: BaseException | None) -> str | None:
    cause = _cause(error)
    return cause.rule if isinstance(cause, StatementRefusedError) else None


def outcome_of(error: BaseException | None) -> Outcome:
    error = _cause(error)
    if error is None:
        return "ok"
    if isinstance(error, StatementTimeoutError):
        return "timeout"
    if isinstance(error, StatementCancelledError) or not isinstance(error, Exception):
        return "cancelled"
    if isinstance(error, DuckDBQueryError | InvalidRequestError | NotFoundError):
        return "user_error"
    if isinstance(error, _REFUSALS):
        return "refused"
    return "failed" if isinstance(error, DuckDBException) else "aborted"
