"""The sources of rows, by the format of their files."""

from __future__ import annotations

from pathlib import Path

from chronoduck.errors import LoadError
from chronoduck.transfer.csv_source import CsvSource
from chronoduck.transfer.detect import FileFormat
from chronoduck.transfer.json_source import JsonSource, NdJsonSource
from chronoduck.transfer.options import ReadOptions
from chronoduck.transfer.sheet_source import SheetSource
from chronoduck.transfer.table_source import TableSource
from chronoduck.transfer.typed_source import ArrowSource, ParquetSource

__all__ = ["open_source"]

_GUESS = ReadOptions()
_SOURCES: dict[FileFormat, type[TableSource]] = {
    FileFormat.PARQUET: ParquetSource,
    FileFormat.ARROW: ArrowSource,
    FileFormat.CSV: CsvSource,
    FileFormat.JSON: JsonSource,
    FileFormat.NDJSON: NdJsonSource,
    FileFormat.XLSX: SheetSource,
    FileFormat.ODS: SheetSource,
    FileFormat.XLS: SheetSource,
}


def open_source(
    file_format: FileFormat,
    path: Path,
    name: str,
    head: bytes,
    read: ReadOptions = _GUESS,
) -> TableSource:
    """Return the source for a copy of a file; ``head`` is its beginning.

    Raises:
        LoadError: files of that format are no rows of any table.
    """
    if file_format not in _SOURCES:
        raise LoadError(f"{file_format.value} holds no rows of a table")
    return _SOURCES[file_format](path, name, head, read)
