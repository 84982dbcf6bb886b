"""The caller's statement is at fault."""

from __future__ import annotations

from chronoduck.errors.exception import DuckDBException

__all__ = [
    "BatchError",
    "DuckDBQueryError",
    "LimitExceededError",
    "StatementCancelledError",
    "StatementRefusedError",
    "StatementTimeoutError",
    "TransactionConflictError",
]


class DuckDBQueryError(DuckDBException):
    """The caller's statement is at fault: syntax, types, names, constraints."""

    code = "query_error"
    title = "The statement failed"
    http_status = 400
    exit_code = 65

    def __init__(
        self,
        detail: str,
        *,
        hint: str | None = None,
        operator_detail: str | None = None,
        category: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        """``category`` is DuckDB's error class in snake case; ``line``, ``column`` count from 1."""
        super().__init__(detail, hint=hint, operator_detail=operator_detail)
        self.category = category
        self.line = line
        self.column = column
        self.missing: tuple[str, str] | None = None
        """What the engine does not know: its type ("Table", "Scalar Function", ...) and name."""


class StatementRefusedError(DuckDBQueryError):
    """A statement that is not run here, or not for this role; ``rule`` names the reason."""

    code = "statement_refused"
    title = "Statement refused"
    http_status = 403
    exit_code = 77

    def __init__(
        self,
        detail: str,
        *,
        hint: str | None = None,
        operator_detail: str | None = None,
        rule: str | None = None,
    ) -> None:
        """``rule`` is stable, in kebab case, and listed in docs/security.md."""
        super().__init__(detail, hint=hint, operator_detail=operator_detail)
        self.rule = rule


class LimitExceededError(DuckDBQueryError):
    """One statement asks for more than its principal may have at once; waiting does not help."""

    code = "limit_exceeded"
    title = "More than this principal may ask for"
    http_status = 422
    exit_code = 77


class StatementTimeoutError(DuckDBQueryError):
    """The statement's deadline passed."""

    code = "statement_timeout"
    title = "Statement timed out"
    http_status = 504
    exit_code = 75
    default_hint = "Raise timeout_seconds, or narrow the statement; POST explain shows its plan."


class StatementCancelledError(DuckDBQueryError):
    """The statement was interrupted by an operator, its caller or a shutdown."""

    code = "statement_cancelled"
    title = "Statement cancelled"
    http_status = 409
    exit_code = 75


class TransactionConflictError(DuckDBQueryError):
    """Another transaction changed the same rows first; nothing of this one was kept."""

    code = "transaction_conflict"
    title = "Transaction conflict"
    http_status = 409
    exit_code = 75
    retryable = True
    default_hint = "Another transaction changed the same rows first; run the transaction again."


class BatchError(DuckDBQueryError):
    """One statement of a batch failed; ``cause`` is its error, nothing after it was run.

    When the service's state stopped it (no space, no memory, a queue, a conflict), code and status are
    the cause's. It is retryable only if a second attempt repeats nothing.
    """

    code = "batch_failed"
    title = "A statement of the batch failed"

    def __init__(self, index: int, sql: str, cause: DuckDBException, *, rolled_back: bool) -> None:
        excerpt = sql if len(sql) <= 200 else sql[:200] + "…"
        outcome = (
            "the whole batch was rolled back"
            if rolled_back
            else f"the {index} before it stay committed"
        )
        super().__init__(
            f"statement {index} of the batch ({excerpt}) failed: {cause.detail}; {outcome}",
            hint=cause.hint,
            operator_detail=f"statement {index} of the batch failed: {cause.operator_detail}; {outcome}",
        )
        self.index = index
        self.sql = sql
        self.cause = cause
        self.rolled_back = rolled_back
        self.keep_state_of(cause)
        if self.has_kept_some:
            vars(self)["retryable"] = False

    @property
    def has_kept_some(self) -> bool:
        """Whether statements before it stay committed, so that the whole batch must not be repeated."""
        return self.index > 0 and not self.rolled_back
