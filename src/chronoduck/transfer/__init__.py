"""Data in: files of captures and of anything else into tables, by the engine's own readers.

Knows formats and tables. Must not know DuckDB's Python package, HTTP or the service: it is handed a
function that runs statements in a transaction.
"""

from chronoduck.transfer.detect import FileFormat
from chronoduck.transfer.loader import (
    FileLoader,
    LoadEvent,
    LoadProgress,
    LoadSummary,
    RejectedLine,
)
from chronoduck.transfer.rejects import RejectFile

__all__ = [
    "FileFormat",
    "FileLoader",
    "LoadEvent",
    "LoadProgress",
    "LoadSummary",
    "RejectFile",
    "RejectedLine",
]
