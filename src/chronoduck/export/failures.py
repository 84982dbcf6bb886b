"""What can go wrong between a query and what it is exported to."""

from __future__ import annotations

from chronoduck.errors import DuckDBException

__all__ = [
    "ExportConflictError",
    "ExportDataError",
    "ExportDriverError",
    "ExportNotFoundError",
    "ExportServerError",
    "ExportTaskError",
    "ExportWriteError",
]


class ExportNotFoundError(DuckDBException):
    """No export of that name is declared."""

    code = "export_not_found"
    title = "No such export"
    http_status = 404
    exit_code = 66


class ExportDriverError(DuckDBException):
    """The client of Meilisearch is not installed."""

    code = "export_driver_missing"
    title = "No client of Meilisearch"
    exit_code = 78
    default_hint = "Install chronoduck[meilisearch]."


class ExportServerError(DuckDBException):
    """Meilisearch cannot be reached or refuses; its address is named, never its key."""

    code = "export_server"
    title = "Meilisearch failed"
    http_status = 502
    exit_code = 69
    retryable = True


class ExportTaskError(DuckDBException):
    """Meilisearch took a request and failed at its work; its own words are in the detail."""

    code = "export_task"
    title = "A task of Meilisearch failed"
    http_status = 502
    exit_code = 65


class ExportConflictError(DuckDBException):
    """What is at the destination is not the export's; it is left alone."""

    code = "export_conflict"
    title = "The destination belongs to others"
    http_status = 409
    exit_code = 73


class ExportDataError(DuckDBException):
    """Rows that cannot be exported; nothing of them was sent."""

    code = "export_data"
    title = "Rows that cannot be exported"
    http_status = 422
    exit_code = 65


class ExportWriteError(DuckDBException):
    """The files of an export were not written; none of them is left."""

    code = "export_write"
    title = "The files of an export were not written"
    http_status = 422
    exit_code = 65
