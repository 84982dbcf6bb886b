"""The database or its engine is at fault, or full: the same statement may succeed later."""

from __future__ import annotations

from chronoduck.errors.exception import DuckDBException

__all__ = [
    "CircuitBreakerOpenException",
    "DatabaseCorruptError",
    "DatabaseFailedError",
    "DatabaseFormatError",
    "DatabaseLockedError",
    "DatabasePermissionError",
    "DiskFullError",
    "DuckDBConnectionError",
    "DuckDBResourceError",
    "EngineBugError",
    "EngineRestartedError",
    "OutOfMemoryError",
    "PoolTimeoutError",
    "QueueFullError",
    "ReaderInterruptedError",
    "ServiceUnavailableError",
    "SpoolSpaceError",
    "WalNotReplayableError",
    "WriteOutcomeUnknownError",
]


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


class DatabaseCorruptError(DatabaseFailedError):
    """The database file has bytes that DuckDB did not write, or lacks some; a person is needed."""

    code = "database_corrupt"
    title = "The database file is damaged"
    retryable = False
    default_hint = (
        "Operators: run `chronoduck runbook database-corrupt`. What lies elsewhere in the file is still "
        "answered."
    )


class DamagedLogError(DatabaseFailedError):
    """The write-ahead log is damaged: opening the database would silently drop transactions."""

    code = "log_damaged"
    title = "The write-ahead log is damaged"
    retryable = False


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
    default_hint = (
        "Look whether it was applied before you send it again. An admin finds it by its request id in "
        "the audit trail: `statement` with its end, or `statement_lost`. Loads that carry an "
        "Idempotency-Key can be sent again as they are."
    )


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


class SpoolSpaceError(DuckDBResourceError):
    """Uploads or waiting results take all the disk space that they may."""

    code = "spool_space_full"
    title = "No space to spool"
    http_status = 507


class QueueFullError(DuckDBResourceError):
    """Too many callers wait already."""

    code = "queue_full"
    title = "Too many statements are waiting"


class PoolTimeoutError(DuckDBResourceError):
    """No connection came free in time."""

    code = "pool_timeout"
    title = "No connection came free in time"


class WalNotReplayableError(DuckDBResourceError):
    """A restart would lose what is written now, so nothing is; reads go on."""

    code = "wal_not_replayable"
    title = "Writes are refused to save the data"
    default_hint = (
        "Retry later. Operators: do not restart; `chronoduck runbook wal-not-replayable`."
    )


class ReaderInterruptedError(DuckDBResourceError):
    """A read was ended for a checkpoint that could not wait."""

    code = "reader_interrupted"
    title = "Read interrupted for a checkpoint"
    default_hint = "Send it again: it changed nothing."


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
