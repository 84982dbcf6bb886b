"""What can be wrong with a backup."""

from __future__ import annotations

from chronoduck.errors import DuckDBException

__all__ = ["BackupDamagedError", "BackupError", "BackupNotFoundError"]


class BackupError(DuckDBException):
    """A backup could not be made; what was there before is as it was."""

    code = "backup_failed"
    title = "The backup was not made"
    http_status = 500
    exit_code = 74
    retryable = True


class BackupDamagedError(DuckDBException):
    """A backup is not what was written, or cannot be read."""

    code = "backup_damaged"
    title = "The backup is damaged"
    http_status = 500
    exit_code = 65
    default_hint = "Use another one (chronoduck backup list shows them), and look at the disk."


class BackupNotFoundError(DuckDBException):
    """There is no such backup."""

    code = "backup_not_found"
    title = "No such backup"
    http_status = 404
    exit_code = 66
    default_hint = "chronoduck backup list shows them."
