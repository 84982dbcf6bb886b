"""The error tree: what happened, to what, and what to do.

::

    DuckDBException                     base of everything raised on purpose
    ├── DuckDBConnectionError           the database cannot be opened or was lost
    │   ├── DatabaseLockedError         another process owns the file
    │   ├── DatabaseFormatError         not a DuckDB file, or written by a newer DuckDB
    │   ├── DatabasePermissionError     a path may not be read or written, or is open to others
    │   ├── DatabaseFailedError         I/O error, corruption, FATAL: the service heals itself
    │   │   ├── DatabaseCorruptError    the file is damaged: only a person can help
    │   │   └── DamagedLogError         the WAL is: opening the file would drop transactions
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
    │   ├── SpoolSpaceError             uploads or waiting results take all that they may
    │   ├── QueueFullError              too many callers wait already
    │   ├── PoolTimeoutError            no connection came free in time
    │   ├── WalNotReplayableError       writes are refused: a restart would lose them
    │   └── ReaderInterruptedError      a read was ended for a checkpoint that could not wait
    ├── CircuitBreakerOpenException     the engine failed repeatedly; calls are refused for a while
    ├── EngineBugError                  DuckDB reported an internal error; the instance survived
    ├── SettingsError                   a setting is unknown or invalid
    ├── TemplateError                   a query template is broken
    │   └── TemplateNotFoundError       no template of that name
    ├── NotFoundError                   no such table, running query, ...
    ├── InvalidRequestError             a request that cannot be understood; nothing was changed
    │   └── IdempotencyKeyUnsupportedError  it carries a key that would not be looked at
    ├── AuthenticationError             no valid credential
    ├── PermissionDeniedError           a valid credential that does not allow this
    ├── PenaltyBoxError                 the principal's statements broke things, and it has to wait
    ├── QuotaExceededError              the principal used what it may use in this time
    ├── RowFilterError                  a row filter does not fit its table
    ├── TooManyAttemptsError            too many invalid credentials came from one address
    └── LoadError                       a file that cannot be loaded

Every class carries a stable ``code`` (part of the API), the ``http_status`` and the process
``exit_code`` (sysexits.h) it maps to, and whether a retry can help. Instances carry ``detail`` (a
sentence with the facts) and ``hint`` (what to do next). A detail never holds a path, a process id or
another user's data: such facts go into ``operator_detail``, which only logs and the CLI show.
"""

from chronoduck.errors.engine import (
    CircuitBreakerOpenException,
    DamagedLogError,
    DatabaseCorruptError,
    DatabaseFailedError,
    DatabaseFormatError,
    DatabaseLockedError,
    DatabasePermissionError,
    DiskFullError,
    DuckDBConnectionError,
    DuckDBResourceError,
    EngineBugError,
    EngineRestartedError,
    OutOfMemoryError,
    PoolTimeoutError,
    QueueFullError,
    ReaderInterruptedError,
    ServiceUnavailableError,
    SpoolSpaceError,
    WalNotReplayableError,
    WriteOutcomeUnknownError,
)
from chronoduck.errors.exception import DuckDBException
from chronoduck.errors.request import (
    AuthenticationError,
    IdempotencyKeyUnsupportedError,
    InvalidRequestError,
    LoadError,
    NotFoundError,
    PenaltyBoxError,
    PermissionDeniedError,
    QuotaExceededError,
    RowFilterError,
    SettingsError,
    TemplateError,
    TemplateNotFoundError,
    TooManyAttemptsError,
)
from chronoduck.errors.statement import (
    BatchError,
    DuckDBQueryError,
    LimitExceededError,
    StatementCancelledError,
    StatementRefusedError,
    StatementTimeoutError,
    TransactionConflictError,
)

__all__ = [
    "AuthenticationError",
    "BatchError",
    "CircuitBreakerOpenException",
    "DamagedLogError",
    "DatabaseCorruptError",
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
    "IdempotencyKeyUnsupportedError",
    "InvalidRequestError",
    "LimitExceededError",
    "LoadError",
    "NotFoundError",
    "OutOfMemoryError",
    "PenaltyBoxError",
    "PermissionDeniedError",
    "PoolTimeoutError",
    "QueueFullError",
    "QuotaExceededError",
    "ReaderInterruptedError",
    "RowFilterError",
    "ServiceUnavailableError",
    "SettingsError",
    "SpoolSpaceError",
    "StatementCancelledError",
    "StatementRefusedError",
    "StatementTimeoutError",
    "TemplateError",
    "TemplateNotFoundError",
    "TooManyAttemptsError",
    "TransactionConflictError",
    "WalNotReplayableError",
    "WriteOutcomeUnknownError",
]
