"""What a file is, from its first bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from chronoduck.errors import LoadError

__all__ = ["Detected", "FileFormat", "detect"]


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


# Header letters of the CDX specification to the names of the Wayback CDX server.
_LETTERS = {
    "N": "urlkey",
    "b": "timestamp",
    "a": "original",
    "m": "mimetype",
    "s": "statuscode",
    "k": "digest",
    "S": "length",
}
# The usual fields of files without a header, by their number; "-" is not kept.
_WITHOUT_HEADER = {
    len(fields.split()): tuple(field.strip("-") for field in fields.split())
    for fields in (
        "urlkey timestamp original mimetype statuscode digest length",
        "urlkey timestamp original mimetype statuscode digest - - -",
        "urlkey timestamp original mimetype statuscode digest - - - -",
        "urlkey timestamp original mimetype statuscode digest - - length - -",
    )
}


@dataclass(frozen=True)
class Detected:
    """A format and, for CDX and CDX server JSON, the names of its fields in order.

    Fields that are not kept have an empty name.
    """

    format: FileFormat
    fields: tuple[str, ...] = ()
    header: str = ""
    """The header line of CDX text; a later one with other columns is a malformed line."""


def detect(head: bytes, name: str, wanted: FileFormat = FileFormat.AUTO) -> Detected:
    """Return what a file is; ``head`` is its (decompressed) beginning, ``name`` helps for CSV.

    Raises:
        LoadError: it is none of the formats, or not the wanted one.
    """
    if not head.strip():
        raise LoadError(f"{name} is empty", hint="Nothing was loaded.")
    text = head.decode("utf-8", "replace").lstrip("\ufeff")
    found = _guess(head, text, name) if wanted is FileFormat.AUTO else wanted
    if found is FileFormat.CDX:
        first = text.lstrip("\r\n").splitlines()[0]
        header = first if first.lstrip().startswith("CDX ") else ""
        return Detected(found, _cdx_fields(text, name), header)
    if found is FileFormat.CDX_JSON:
        return Detected(found, _json_header(text, name))
    return Detected(found)


def _guess(head: bytes, text: str, name: str) -> FileFormat:
    if head.startswith(b"PAR1"):
        return FileFormat.PARQUET
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return FileFormat.ARROW
    start = text.lstrip()
    if start.startswith("CDX ") or text.startswith(" CDX"):
        return FileFormat.CDX
    if start.startswith("[") and start[1:].lstrip().startswith(("[", "]")):
        return FileFormat.CDX_JSON
    lines = [line for line in text.splitlines()[:20] if line.strip()]
    if start.startswith("{"):
        is_index = all(f'"{key}"' in lines[0] for key in ("urlkey", "timestamp"))
        return FileFormat.CDXJ if is_index else FileFormat.JSON
    if start.startswith("["):
        return FileFormat.JSON
    if start.startswith("!") or any((_behind_date(line) or "").startswith("{") for line in lines):
        return FileFormat.CDXJ
    if any(_behind_date(line) is not None for line in lines):
        return FileFormat.CDX
    if ".csv" in name.lower() or ".tsv" in name.lower():
        return FileFormat.CSV
    raise LoadError(
        f"{name} is not CDX, CDXJ, CDX server JSON, Parquet, Arrow IPC, JSON or named .csv",
        hint="Say what it is with --format.",
    )


def _cdx_fields(text: str, name: str) -> tuple[str, ...]:
    """Return the field names by the header's letters, or by the number of fields without one."""
    lines = [line for line in text.splitlines()[:20] if line.strip()]
    header = lines[0].split()
    if header[0] == "CDX":
        fields = []
        for letter in header[1:]:
            meaning = _LETTERS.get(letter, "")
            fields.append("" if meaning in fields else meaning)
        if "timestamp" not in fields or not {"urlkey", "original"} & set(fields):
            raise LoadError(
                f"the header of {name} ({lines[0].strip()}) names no URL (N or a) or no date (b)",
                hint="A header such as ' CDX N b a m s k r M S V g' is needed.",
            )
        return tuple(fields)
    for line in lines:
        known = _WITHOUT_HEADER.get(len(line.split(" ")))
        if known and _behind_date(line) is not None:
            return known
    raise LoadError(
        f"{name} has no CDX header and its lines have {len(lines[0].split(' '))} fields",
        hint="Without a header 7, 9, 10 or 11 fields are understood; add a ' CDX ...' line.",
    )


def _behind_date(line: str) -> str | None:
    """Return what follows a key and a date of 4 to 14 digits; None: the line does not begin so."""
    key, _, rest = line.partition(" ")
    date, space, rest = rest.partition(" ")
    is_index = len(key.split()) == 1 and key.strip() == key and 4 <= len(date) <= 14
    return rest if is_index and space and date.isdecimal() else None


def _first_row(text: str) -> list[str]:
    """Return the first row of CDX server JSON if it is one of strings, else nothing."""
    begin = text.lstrip()[1:].lstrip() if text.lstrip().startswith("[") else ""
    row, end, _ = begin.partition("]")
    try:
        fields = json.loads(row + end) if row.startswith("[") else []
    except (ValueError, RecursionError):
        return []
    is_row = isinstance(fields, list) and all(isinstance(field, str) for field in fields)
    return fields if is_row else []


def _json_header(text: str, name: str) -> tuple[str, ...]:
    if "".join(text.split()) in ("[]", "[[]]"):
        return ()  # the server's answer when it knows no capture
    fields = _first_row(text)
    if "timestamp" not in fields or not {"urlkey", "original"} & set(fields):
        raise LoadError(
            f"the first row of {name} does not name its fields (timestamp, original, ...)",
            hint="Ask the CDX server for output=json, which begins with such a row.",
        )
    known = set(_LETTERS.values())
    return tuple(field if field in known else "" for field in fields)
