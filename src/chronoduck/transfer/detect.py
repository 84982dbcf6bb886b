"""What a file is, from its first bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import orjson

from chronoduck.errors import LoadError
from chronoduck.transfer.captures.heads import (
    behind_date,
    cdx_head,
    is_cdx_header,
    refuse_secondary,
    server_fields,
)

__all__ = ["Detected", "FileFormat", "detect"]


_BOM = b"\xef\xbb\xbf"
_NO_TEXTS = {
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow IPC",
    b"\xff\xff\xff\xff": "Arrow IPC",
    b"\x1f\x8b": "compressed by gzip, and twice",
    b"\x28\xb5\x2f\xfd": "compressed by zstd, and twice",
}
"""What begins so, and has a control character behind it, is no text."""
_LOOK_BYTES = 64
_RESULT_BYTES = 200_000


class FileFormat(StrEnum):
    """The formats that can be loaded; ``auto`` looks at the first bytes."""

    AUTO = "auto"
    CDX = "cdx"
    CDXJ = "cdxj"
    CDX_JSON = "cdx-json"
    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"
    ARROW = "arrow"
    XLSX = "xlsx"
    XLS = "xls"
    ODS = "ods"


@dataclass(frozen=True)
class Detected:
    """A format and, for CDX and CDX server JSON, the names of its fields in order.

    Fields that are not kept have an empty name.
    """

    format: FileFormat
    fields: tuple[str, ...] = ()
    header: str = ""
    """The header line of CDX text; a later one with other columns is a malformed line."""
    delimiter: str = " "
    """What is between the fields of CDX text."""
    is_archive: bool = False
    """Whether the lines are made of a web archive's records."""


def detect(head: bytes, name: str, wanted: FileFormat = FileFormat.AUTO) -> Detected:
    """Return what a file is; ``head`` is its (decompressed) beginning, ``name`` helps for CSV.

    Raises:
        LoadError: it is none of the formats, or not the wanted one.
    """
    if not head.removeprefix(_BOM).strip():
        if wanted is FileFormat.NDJSON or (wanted is FileFormat.AUTO and is_lines_name(name)):
            return Detected(FileFormat.NDJSON)  # no lines are no rows
        hint = "Nothing was loaded."
        if wanted is FileFormat.CSV or (wanted is FileFormat.AUTO and is_csv_name(name)):
            hint += " A CSV file without rows has a header line."
        raise LoadError(f"{name} is empty", hint=hint)
    text = head.decode("utf-8", "replace").lstrip("\ufeff")
    found = _guess(head, text, name) if wanted is FileFormat.AUTO else wanted
    if found in (FileFormat.CSV, FileFormat.JSON, FileFormat.NDJSON):
        _refuse_no_text(head, name, found)
    if found in (FileFormat.CDX, FileFormat.CDXJ):
        refuse_secondary(text, name)
    if found is FileFormat.CDX:
        cdx = cdx_head(text, name)
        return Detected(found, cdx.fields, cdx.header, cdx.delimiter)
    if found is FileFormat.CDX_JSON:
        return Detected(found, server_fields(text, name))
    return Detected(found)


def _refuse_no_text(head: bytes, name: str, wanted: FileFormat) -> None:
    """Refuse what would be read as a text, and is none: an error of its first line would mislead."""
    for start, what in _NO_TEXTS.items():
        if head.startswith(start) and any(byte < 9 for byte in head[len(start) : _LOOK_BYTES]):
            raise LoadError(
                f"{name} is {what}, not {wanted.value.upper()}",
                hint="Nothing was loaded. Say what it is (`format`), or decompress it first.",
            )
    start = head[:_RESULT_BYTES].lstrip()
    if (
        start.startswith(b'{"columns":[')
        and b'],"types":[' in start
        and b'],"query_hash":"' in start
    ):
        raise LoadError(
            f"{name} is the JSON document of a result, whose rows are no objects",
            hint="Nothing was loaded. Ask for NDJSON, CSV, Arrow or Parquet, and load that.",
        )


def _guess(head: bytes, text: str, name: str) -> FileFormat:
    if head.startswith(b"PAR1"):
        return FileFormat.PARQUET
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return FileFormat.ARROW
    start = text.lstrip()
    if is_cdx_header(start) or is_cdx_header(text.lstrip("\r\n")):
        return FileFormat.CDX
    if is_csv_name(name):  # a title such as "Report 2024 ..." may look like a line of an index
        return FileFormat.CSV
    if start.startswith("[") and start[1:].lstrip().startswith(("[", "]")):
        return FileFormat.CDX_JSON
    lines = [line for line in text.splitlines()[:20] if line.strip()]
    if start.startswith("{"):
        is_index = all(f'"{key}"' in lines[0] for key in ("urlkey", "timestamp"))
        if is_index:
            return FileFormat.CDXJ
        return FileFormat.NDJSON if _is_lines(text, name) else FileFormat.JSON
    if start.startswith("["):
        return FileFormat.JSON
    if start.startswith("!") or any((behind_date(line) or "").startswith("{") for line in lines):
        return FileFormat.CDXJ
    if any(behind_date(line) is not None for line in lines):
        return FileFormat.CDX
    refuse_secondary(text, name)
    raise LoadError(
        f"{name} is not CDX, CDXJ, CDX server JSON, Parquet, Arrow IPC, JSON or named .csv",
        hint="Say what it is: set `format`.",
    )


def _is_lines(text: str, name: str) -> bool:
    """Whether a text of objects has one on each line: one does if the name says so, else all."""
    lines = text.split("\n", 20)[:20]  # no other line ends: they may stand in a string
    if not text.endswith("\n") and len(lines) > 1:
        lines = lines[:-1]  # its end may not be here
    are_objects = [_is_object(line) for line in lines if line.strip()]
    return any(are_objects) if is_lines_name(name) else all(are_objects)


def _is_object(line: str) -> bool:
    try:
        return isinstance(orjson.loads(line.encode("utf-8", "surrogatepass")), dict)
    except orjson.JSONDecodeError:
        return False


def is_lines_name(name: str) -> bool:
    """Whether a file is named as NDJSON is."""
    return ".ndjson" in name.lower() or ".jsonl" in name.lower()


def is_csv_name(name: str) -> bool:
    """Whether a file is named as CSV is."""
    return ".csv" in name.lower() or ".tsv" in name.lower()
