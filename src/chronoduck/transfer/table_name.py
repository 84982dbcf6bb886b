"""Which table a file goes into when nobody says."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from chronoduck.errors import InvalidRequestError
from chronoduck.transfer.chunks import CountingReader
from chronoduck.transfer.detect import FileFormat
from chronoduck.transfer.loader import CAPTURE_FORMATS
from chronoduck.transfer.opening import open_file
from chronoduck.transfer.schema import CAPTURES_TABLE

__all__ = ["table_for", "table_named_after"]

_NO_PART_OF_A_NAME = frozenset(
    {"csv", "tsv", "txt", "json", "jsonl", "ndjson", "parquet", "arrow", "arrows", "ipc", "feather"}
    | {"xlsx", "xlsm", "xls", "ods", "gz", "zst"}
)


def table_for(source: IO[bytes], name: str, file_format: FileFormat) -> str:
    """Return the table of captures for a file of them, else one that is named after the file.

    Raises:
        InvalidRequestError: a pipe has no name that a table could have.
    """
    if not source.seekable():
        return CAPTURES_TABLE
    # A directory is needed for what comes through a pipe alone.
    detected = open_file(CountingReader(source), name, file_format, Path()).detected
    source.seek(0)
    return CAPTURES_TABLE if detected.format in CAPTURE_FORMATS else table_named_after(name)


def table_named_after(name: str) -> str:
    """Return a table's name for a file: ``Sales 2024.csv.gz`` is ``Sales_2024``.

    Raises:
        InvalidRequestError: nothing of it can be one.
    """
    parts = Path(name.partition("?")[0]).name.split(".")
    while len(parts) > 1 and parts[-1].lower() in _NO_PART_OF_A_NAME:
        parts.pop()
    plain = "".join(sign if sign.isalnum() or sign == "_" else "_" for sign in "_".join(parts))
    plain = "_".join(part for part in plain.split("_") if part)
    if not plain:
        raise InvalidRequestError(f"{name!r} gives no name for a table", hint="Set --table.")
    return f"t_{plain}" if plain[0].isdecimal() else plain
