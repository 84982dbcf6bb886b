"""Data in: files of captures and of anything else into tables, by the engine's own readers.

Knows formats and tables. Must not know DuckDB's Python package, HTTP or the service: it is handed a
function that runs statements in a transaction.
"""

from chronoduck.transfer.detect import FileFormat
from chronoduck.transfer.events import LoadEvent, LoadProgress, LoadSummary, RejectedLine
from chronoduck.transfer.loader import FileLoader
from chronoduck.transfer.options import LoadMode, LoadOptions, OnError, ReadOptions
from chronoduck.transfer.places import Place, find_places
from chronoduck.transfer.rejects import RejectFile

__all__ = [
    "FileFormat",
    "FileLoader",
    "LoadEvent",
    "LoadMode",
    "LoadOptions",
    "LoadProgress",
    "LoadSummary",
    "OnError",
    "Place",
    "ReadOptions",
    "RejectFile",
    "RejectedLine",
    "find_places",
]
