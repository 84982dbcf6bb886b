"""Data out, as a file declares it: results of queries into indexes of Meilisearch, or into files.

Knows Meilisearch's interface and the engine's SQL. Must not know DuckDB's Python package, this
service's HTTP or how statements are run: it is handed functions for that.
"""

from chronoduck.export.declaration import (
    ExportFile,
    FilesDeclaration,
    IndexDeclaration,
    MeilisearchDeclaration,
    read_export_file,
)
from chronoduck.export.failures import (
    ExportConflictError,
    ExportDataError,
    ExportDriverError,
    ExportNotFoundError,
    ExportServerError,
    ExportTaskError,
    ExportWriteError,
)

__all__ = [
    "ExportConflictError",
    "ExportDataError",
    "ExportDriverError",
    "ExportFile",
    "ExportNotFoundError",
    "ExportServerError",
    "ExportTaskError",
    "ExportWriteError",
    "FilesDeclaration",
    "IndexDeclaration",
    "MeilisearchDeclaration",
    "read_export_file",
]
