"""The error tree: what happened, to what, and what to do.

::

    DuckDBException                     base of everything raised on purpose
    ├── DuckDBConnectionError           the database cannot be opened or was lost
    │   ├── DatabaseLockedError         another process owns the file
    │   ├── DatabaseFormatError         not a DuckDB file, or written by a newer DuckDB
    │   ├── DatabasePermissionError     a path may not be read or written, or is open to others
    │   ├── DatabaseFailedError         I/O error, corruption, FATAL: the service heals itself
    │   ├── ServiceUnavailableError     not initialised, shutting down
    │   ├── EngineRestartedError        the engine process was replaced; nothing was answered yet
    │   └── WriteOutcomeUnknownError    it was replaced while a write ran, which may be applied or not
    ├── DuckDBQueryError                the caller's statement is at fault
    │   ├── StatementRefusedError       this kind of statement is not run here
    │   ├── LimitExceededError          one statement asks for more than its principal may
    │   ├── StatementTimeoutError       its deadline passed
    │   ├── StatementCancelledError     interrupted by an operator or by its caller
    │   ├── TransactionConflictError    two writers met; the transaction was rolled back
    │   └── BatchError                  one statement of a batch failed, named by index and text
    ├── DuckDBResourceError             the statement did not fit
    │   ├── OutOfMemoryError            memory limit reached and spilling was not enough
    │   ├── DiskFullError               no space for data or spill files
    │   ├── QueueFullError              too many callers wait already
    │   └── PoolTimeoutError            no connection came free in time
    ├── CircuitBreakerOpenException     the engine failed repeatedly; calls are refused for a while
    ├── EngineBugError                  DuckDB reported an internal error; the instance survived
    ├── SettingsError                   a setting is unknown or invalid
    ├── TemplateError                   a query template is broken
    │   └── TemplateNotFoundError       no template of that name
    ├── NotFoundError                   no such table, running query, ...
    ├── InvalidRequestError             a request that cannot be understood; nothing was changed
    ├── AuthenticationError             no valid credential
    ├── PermissionDeniedError           a valid credential that does not allow this
    ├── QuotaExceededError              the principal used what it may use in this time
    ├── TooManyAttemptsError            too many invalid credentials came from one address
    └── LoadError                       a file that cannot be loaded

Every class carries a stable ``code`` (part of the API), the ``http_status`` and the process
``exit_code`` (sysexits.h) it maps to, and whether a retry can help. Instances carry ``detail`` (a
sentence with the facts) and ``hint`` (what to do next). A detail never holds a path, a process id or
another user's data: such facts go into ``operator_detail``, which only logs and the CLI show.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AuthenticationError",
    "BatchError",
    "CircuitBreakerOpenException",
    "DatabaseFailedError",
    "DatabaseFormatError",
    "DatabaseLockedError",
    "DatabasePermissionError",
    "DiskFullError",
    "DuckDBConnectionError",
    "DuckDBException",
    "DuckDBQueryError",
    "DuckDBResourceError",
    "EngineBugError",
    "EngineRestartedError",
    "InvalidRequestError",
    "LimitExceededError",
    "LoadError",
    "NotFoundError",
    "OutOfMemoryError",
    "PermissionDeniedError",
    "PoolTimeoutError",
    "QueueFullError",
    "QuotaExceededError",
    "ServiceUnavailableError",
    "SettingsError",
    "StatementCancelledError",
    "StatementRefusedError",
    "StatementTimeoutError",
    "TemplateError",
    "TemplateNotFoundError",
    "TooManyAttemptsError",
    "TransactionConflictError",
    "WriteOutcomeUnknownError",
]


class DuckDBException(Exception):
    """Base of every error that chronoduck raises on purpose."""

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Error"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(
        self, detail: str, *, hint: str | None = None, operator_detail: str | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = self.default_hint if hint is None else hint
        self.operator_detail = operator_detail or detail
        self.retry_after_seconds: float | None = None
        self.request_id: str | None = None
        """Of the request that the service answered so; clients of it set it."""
        self.is_recorded = False
        """Whether a statement's record in log and audit trail tells of it."""

    def __str__(self) -> str:
        return self.detail


class DuckDBConnectionError(DuckDBException):
    """The database cannot be opened or was lost."""

    code = "database_unavailable"
    title = "Database unavailable"
    http_status = 503
    exit_code = 69
    retryable = True


class DatabaseLockedError(DuckDBConnectionError):
    """Another process owns the file."""

    code = "database_locked"
    title = "Database in use by another process"
    exit_code = 75


class DatabaseFormatError(DuckDBConnectionError):
    """The file is not a DuckDB database, or a newer DuckDB wrote it."""

    code = "database_format"
    title = "Not a database this version can open"
    exit_code = 65
    retryable = False


class DatabasePermissionError(DuckDBConnectionError):
    """A path may not be read or written, or is open to users it should not be open to."""

    code = "database_permission"
    title = "File permissions"
    exit_code = 77
    retryable = False


class DatabaseFailedError(DuckDBConnectionError):
    """The engine met an I/O error, corruption or a fatal error; it is reopened by itself."""

    code = "database_failed"
    title = "The database engine failed"
    exit_code = 74
    default_hint = (
        "The service reopens the database by itself; retry in a moment, or see GET health."
    )


class ServiceUnavailableError(DuckDBConnectionError):
    """The service is not initialised or is shutting down."""

    code = "service_unavailable"
    title = "Service unavailable"
    default_hint = "Retry in a moment; GET health tells the state of the service."


class EngineRestartedError(DuckDBConnectionError):
    """The server's process was replaced before this statement was answered; it changed nothing."""

    code = "engine_restarted"
    title = "The engine was restarted"
    exit_code = 75
    default_hint = "Send it again at once on a new connection: it waits there for the new engine."

    def __init__(
        self, detail: str, *, hint: str | None = None, operator_detail: str | None = None
    ) -> None:
        super().__init__(detail, hint=hint, operator_detail=operator_detail)
        self.retry_after_seconds = 0.0


class WriteOutcomeUnknownError(DuckDBConnectionError):
    """The process was replaced while a write ran. Not 503: who repeats those would write twice."""

    code = "write_outcome_unknown"
    title = "The outcome of a write is unknown"
    http_status = 500
    exit_code = 75
    retryable = False
    default_hint = "Look whether it was applied before you send it again."


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
    """One statement of a batch failed; ``cause`` is its error, nothing after it was run."""

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
        )
        self.index = index
        self.sql = sql
        self.cause = cause
        self.rolled_back = rolled_back


class DuckDBResourceError(DuckDBException):
    """The statement did not fit into memory, disk, queue or pool."""

    code = "resource_exhausted"
    title = "Not enough resources"
    http_status = 503
    exit_code = 75
    retryable = True


class OutOfMemoryError(DuckDBResourceError):
    """The memory limit was reached and spilling to disk was not enough."""

    code = "out_of_memory"
    title = "Statement ran out of memory"
    http_status = 507
    retryable = False


class DiskFullError(DuckDBResourceError):
    """No space was left for data or spill files."""

    code = "disk_full"
    title = "Disk full"
    http_status = 507


class QueueFullError(DuckDBResourceError):
    """Too many callers wait already."""

    code = "queue_full"
    title = "Too many statements are waiting"


class PoolTimeoutError(DuckDBResourceError):
    """No connection came free in time."""

    code = "pool_timeout"
    title = "No connection came free in time"


class CircuitBreakerOpenException(DuckDBException):
    """The engine failed repeatedly; calls are refused until the breaker tries again."""

    code = "circuit_breaker_open"
    title = "Circuit breaker open"
    http_status = 503
    exit_code = 75
    retryable = True


class EngineBugError(DuckDBException):
    """DuckDB reported an internal error for this statement; the instance survived."""

    code = "engine_bug"
    title = "DuckDB internal error"
    http_status = 500
    exit_code = 70


class SettingsError(DuckDBException):
    """A setting is unknown or invalid."""

    code = "settings_invalid"
    title = "Invalid setting"
    exit_code = 78


class TemplateError(DuckDBException):
    """A query template is broken; the detail names file and line."""

    code = "template_invalid"
    title = "Broken template"
    exit_code = 78


class TemplateNotFoundError(TemplateError):
    """No template has that name."""

    code = "template_not_found"
    title = "No such template"
    http_status = 404
    exit_code = 66


class NotFoundError(DuckDBException):
    """The named table, statement or other object does not exist."""

    code = "not_found"
    title = "Not found"
    http_status = 404
    exit_code = 66


class InvalidRequestError(DuckDBException):
    """The request cannot be understood; nothing was changed."""

    code = "invalid_request"
    title = "Invalid request"
    http_status = 422
    exit_code = 64


class AuthenticationError(DuckDBException):
    """No valid credential came with the request."""

    code = "unauthenticated"
    title = "Authentication required"
    http_status = 401
    exit_code = 77


class PermissionDeniedError(DuckDBException):
    """The credential is valid and does not allow this."""

    code = "forbidden"
    title = "Not allowed"
    http_status = 403
    exit_code = 77


class QuotaExceededError(DuckDBException):
    """The principal used what it may use; ``retry_after_seconds`` tells when it may again."""

    code = "quota_exceeded"
    title = "Quota exceeded"
    http_status = 429
    exit_code = 75
    retryable = True


class TooManyAttemptsError(DuckDBException):
    """Too many invalid credentials came from one address; it has to wait."""

    code = "too_many_attempts"
    title = "Too many attempts"
    http_status = 429
    exit_code = 75
    retryable = True
    default_hint = "Wait as long as Retry-After says, and send a valid token."


class LoadError(DuckDBException):
    """A file cannot be loaded; the detail says how far it got."""

    code = "load_failed"
    title = "Load failed"
    http_status = 422
    exit_code = 65
