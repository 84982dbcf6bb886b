"""What the first lines of an index say: its fields, its delimiter, or that it is a secondary index."""

from __future__ import annotations

import json
from dataclasses import dataclass

from chronoduck.errors import LoadError

__all__ = [
    "CdxHead",
    "behind_date",
    "cdx_head",
    "is_cdx_header",
    "refuse_secondary",
    "server_fields",
]

# Header letters of the CDX specification to the names of the Wayback CDX server. Of several letters for
# one name the first that the header has counts.
_LETTERS = {
    "urlkey": "NA",
    "timestamp": "b",
    "original": "a",
    "mimetype": "m",
    "statuscode": "s",
    "digest": "kc",
    "length": "Sn",
    "offset": "Vv",
    "filename": "g",
    "title": "t",
}
_SERVER_NAMES = frozenset(_LETTERS)
# The usual fields of files without a header, by their number; "-" is not kept.
_WITHOUT_HEADER = {
    len(fields.split()): tuple(field.strip("-") for field in fields.split())
    for fields in (
        "urlkey timestamp original mimetype statuscode digest length",
        "urlkey timestamp original mimetype statuscode digest - offset filename",
        "urlkey timestamp original mimetype statuscode digest - - offset filename",
        "urlkey timestamp original mimetype statuscode digest - - length offset filename",
    )
}
_LOOKED_AT = 20
"""Lines at the beginning of a file."""
_INDEX_ENDS = (".cdx", ".cdxj", ".cdx.gz", ".cdxj.gz", ".idx")


@dataclass(frozen=True)
class CdxHead:
    """The fields of CDX text in order, those that are not kept with an empty name; and how they part."""

    fields: tuple[str, ...]
    delimiter: str = " "
    header: str = ""


def is_cdx_header(line: str) -> bool:
    """Whether a line is ``CDX`` and letters; what stands before ``CDX`` is the delimiter."""
    letters = line.partition("\n")[0].rstrip("\r")[_at_letters(line) :]
    if not _at_letters(line) or not letters or letters[0].isalnum():
        return False
    return all(len(letter.strip()) == 1 for letter in letters.strip(letters[0]).split(letters[0]))


def _at_letters(line: str) -> int:
    """Return where the letters of a header begin, with their delimiter; 0: the line is no header."""
    if line.startswith("CDX"):
        return 3
    return 4 if line[1:4] == "CDX" and not line[0].isalnum() else 0


def cdx_head(text: str, name: str) -> CdxHead:
    """Return the fields by the header's letters, or by the number of fields without a header.

    Raises:
        LoadError: there is no header and the number is none of the usual, or the header lacks a field.
    """
    lines = [line for line in text.splitlines()[:_LOOKED_AT] if line.strip()]
    first = lines[0] if is_cdx_header(lines[0]) else lines[0].lstrip()
    if is_cdx_header(first):
        rest = first[_at_letters(first) :].rstrip("\r\n")
        delimiter = rest[0]
        letters = rest.strip(delimiter).split(delimiter)
        return CdxHead(
            _by_letters([letter.strip() for letter in letters], first, name), delimiter, lines[0]
        )
    for line in lines:
        known = _WITHOUT_HEADER.get(len(line.split(" ")))
        if known and behind_date(line) is not None:
            return CdxHead(known)
    raise LoadError(
        f"{name} has no CDX header and its lines have {len(lines[0].split(' '))} fields",
        hint="Without a header 7, 9, 10 or 11 fields are understood; add a ' CDX ...' line.",
    )


def _by_letters(letters: list[str], header: str, name: str) -> tuple[str, ...]:
    fields = [""] * len(letters)
    for meaning, known in _LETTERS.items():
        for letter in known:
            if letter in letters:
                fields[letters.index(letter)] = meaning
                break
    if "original" not in fields and "N" not in letters and "A" in letters:
        fields[letters.index("A")] = "original"  # a URL without its scheme
    if "timestamp" not in fields or not {"urlkey", "original"} & set(fields):
        raise LoadError(
            f"the header of {name} ({header.strip()}) names no URL (N, A or a) or no date (b)",
            hint="A header such as ' CDX N b a m s k r M S V g' is needed.",
        )
    return tuple(fields)


def behind_date(line: str) -> str | None:
    """Return what follows a key and a date of 4 to 23 digits; None: the line does not begin so."""
    key, _, rest = line.partition(" ")
    date, space, rest = rest.partition(" ")
    is_index = len(key.split()) == 1 and key.strip() == key and 4 <= len(date) <= 23
    return rest if is_index and space and date.isdecimal() else None


def server_fields(text: str, name: str) -> tuple[str, ...]:
    """Return the fields of a CDX server's JSON by its first row; none: the server knows no capture.

    Raises:
        LoadError: the first row does not name them.
    """
    if "".join(text.split()) in ("[]", "[[]]"):
        return ()
    fields = _first_row(text)
    if "timestamp" not in fields or not {"urlkey", "original"} & set(fields):
        raise LoadError(
            f"the first row of {name} does not name its fields (timestamp, original, ...)",
            hint="Ask the CDX server for output=json, which begins with such a row.",
        )
    return tuple(field if field in _SERVER_NAMES else "" for field in fields)


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


# --- secondary indexes ------------------------------------------------------------------------


def refuse_secondary(text: str, name: str) -> None:
    """Refuse an index of the blocks of an index (ZipNum, WACZ): its lines are no captures.

    Raises:
        LoadError: it is one; names the file that has the captures, where it is told.
    """
    for line in [line for line in text.splitlines()[:_LOOKED_AT] if line.strip()]:
        indexed = _zipnum_file(line) or _json_file(line)
        if indexed is not None:
            raise LoadError(
                f"{name} is a secondary index: its lines are blocks of {indexed or 'another index'}, "
                "not captures",
                hint=f"Load {indexed or 'the index that it belongs to'} instead. Nothing was loaded.",
            )


def _zipnum_file(line: str) -> str | None:
    """Return the file of ``key date<tab>file<tab>offset<tab>length``; None: it is no such line."""
    parts = line.split("\t")
    date = parts[0].rpartition(" ")[2]
    is_block = len(parts) in (4, 5) and all(part.isdecimal() for part in parts[2:])
    return parts[1] if is_block and len(date) == 14 and date.isdecimal() else None


def _json_file(line: str) -> str | None:
    entry = _object_in(line)
    if line.startswith("!"):
        is_secondary = "gzip" in str(entry.get("format", "")) and "cdx" in str(entry.get("format"))
        return str(entry.get("filename", "")) if is_secondary else None
    indexed = str(entry.get("filename", ""))
    has_url = any(name in entry for name in ("url", "original", "uri"))
    return indexed if indexed.endswith(_INDEX_ENDS) and not has_url and "offset" in entry else None


def _object_in(line: str) -> dict[str, object]:
    begin = line.find("{")
    try:
        entry = json.loads(line[begin:]) if begin >= 0 else {}
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}
