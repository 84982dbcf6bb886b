"""What can go wrong between PostgreSQL and a table."""

from __future__ import annotations

from chronoduck.errors import DuckDBException

__all__ = [
    "SyncDataError",
    "SyncDriftError",
    "SyncDriverError",
    "SyncNotFoundError",
    "SyncSourceError",
]


class SyncNotFoundError(DuckDBException):
    """No sync of that name is declared."""

    code = "sync_not_found"
    title = "No such sync"
    http_status = 404
    exit_code = 66


class SyncDriverError(DuckDBException):
    """The driver for PostgreSQL is not installed."""

    code = "sync_driver_missing"
    title = "No driver for PostgreSQL"
    exit_code = 78
    default_hint = "Install chronoduck[postgres]."


class SyncSourceError(DuckDBException):
    """PostgreSQL cannot be reached or refuses; host and database are named, never the password."""

    code = "sync_source"
    title = "The source of a sync failed"
    http_status = 502
    exit_code = 69
    retryable = True
    sqlstate = ""
    """PostgreSQL's code of the error, where it has one."""


class SyncDriftError(DuckDBException):
    """Source and target do not fit together; nothing more is written until somebody looks."""

    code = "sync_drift"
    title = "Source and target do not fit"
    http_status = 409
    exit_code = 65


class SyncDataError(DuckDBException):
    """Rows of the source that the target cannot hold."""

    code = "sync_data"
    title = "Rows that cannot be taken"
    http_status = 422
    exit_code = 65
