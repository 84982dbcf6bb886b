"""Malformed lines of captures with dirt that is known, as good ones; what was changed is noted."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Mapping
from datetime import datetime

import orjson

from chronoduck.transfer.captures.parsing import JSON_NAMES
from chronoduck.transfer.detect import Detected, FileFormat

__all__ = ["repaired_line"]

_STATUS_DIGITS = 3
_SPACE = "%20"


def repaired_line(line: str, number: int, detected: Detected) -> bytes | None:
    """Return the line's fields as JSON, with ``repaired`` that says what was changed.

    None: there is nothing in it that can be repaired without a guess at the page or its moment.
    """
    notes: list[str] = []
    if detected.format is FileFormat.CDX:
        fields = _cdx_fields(line, detected, notes)
    elif detected.format is FileFormat.CDX_JSON:
        fields = _row_fields(line, detected)
    else:
        fields = _object_fields(line, notes)
    if fields is None or not (fields.get("original") or fields.get("urlkey")):
        return None
    date = _date(fields.get("timestamp", ""), notes)
    if date is None:
        return None
    fields["timestamp"] = date
    _number(fields, "statuscode", "status", notes, _status)
    _number(fields, "length", "length", notes, lambda text: "")
    if not notes:
        return None
    shown = {JSON_NAMES[name][0]: value for name, value in fields.items() if value}
    return orjson.dumps(
        {**shown, "record": number, "repaired": ", ".join(notes)},
        option=orjson.OPT_APPEND_NEWLINE,
    )


# --- the fields of a line ---------------------------------------------------------------------


def _cdx_fields(line: str, detected: Detected, notes: list[str]) -> dict[str, str] | None:
    """Return the fields of CDX text; of too many the ones in the key, the URL or the type had spaces."""
    names, delimiter = detected.fields, detected.delimiter
    parts = line.split(delimiter)
    if len(parts) > len(names):
        joined = _without_spaces(parts, names, delimiter)
        if joined is None:
            return None
        parts = joined
        notes.append("spaces")
    if len(parts) != len(names):
        return None
    return {
        name: "" if part == "-" else part for name, part in zip(names, parts, strict=True) if name
    }


def _without_spaces(parts: list[str], names: tuple[str, ...], delimiter: str) -> list[str] | None:
    """Return as many parts as there are names: those of the key, the URL and the type put together."""
    if delimiter != " " or names[:3] != ("urlkey", "timestamp", "original"):
        return None
    at = next((i for i, part in enumerate(parts) if i and part.isdecimal() and len(part) >= 4), 0)
    behind = parts[at + 1 :]
    extra = len(behind) - (len(names) - 2)
    if not at or extra < 0:
        return None
    is_type = len(names) > 3 and names[3] == "mimetype" and len(behind) > 1
    if extra and is_type and "/" in behind[1] and "://" not in behind[1]:
        rest = [behind[0], behind[1], *behind[2 + extra :]]  # "text/html charset=utf-8"
    else:
        rest = [_SPACE.join(behind[: extra + 1]), *behind[extra + 1 :]]
    return [_SPACE.join(parts[:at]), parts[at], *rest]


def _row_fields(line: str, detected: Detected) -> dict[str, str] | None:
    text = line.strip(" ,\t").removesuffix("]]").removesuffix("]").lstrip("[")
    try:
        row = orjson.loads(f"[{text}]")
    except ValueError:
        return None
    if len(row) != len(detected.fields):
        return None
    return {
        name: "" if value in (None, "-") else str(value)
        for name, value in zip(detected.fields, row, strict=True)
        if name
    }


def _object_fields(line: str, notes: list[str]) -> dict[str, str] | None:
    before, brace, rest = line.partition("{")
    try:
        entry = orjson.loads(brace + rest)
    except ValueError:
        return None
    if not isinstance(entry, dict):
        return None
    fields = _named(entry)
    words = before.split()
    at = next((i for i, word in enumerate(words) if i and word.isdecimal() and len(word) >= 4), 1)
    if len(words) > at:
        fields["urlkey"], fields["timestamp"] = _SPACE.join(words[:at]), words[at]
        if at > 1:
            notes.append("spaces")
    return fields


def _named(entry: Mapping[str, object]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, aliases in JSON_NAMES.items():
        value = next((entry[alias] for alias in aliases if entry.get(alias) is not None), None)
        if isinstance(value, str | int) and value != "-":
            fields[name] = str(value)
    return fields


# --- what is known to be wrong ----------------------------------------------------------------


def _date(given: str, notes: list[str]) -> str | None:
    """Return 14 digits of a moment that exists; None: there is no year to begin with.

    Two zeros in the place of a month or day are digits too many, as in ``20000800241623``, which is
    August 24th, 16:23. Other impossible parts become the last possible one.
    """
    digits = "".join(filter(str.isdecimal, given)) if given.isascii() else ""
    if len(digits) < 4 or not "1900" <= digits[:4] <= "2999":
        return None
    if _exists(given):
        return given
    text = digits[:14]
    for at in (4, 6):
        if text[at : at + 2] == "00" and len(text) == 14:
            moved = text[:at] + text[at + 2 :] + "00"
            if _exists(moved):
                notes.append(f"date {given}")
                return moved
    text = text[: len(text) - len(text) % 2] + "00000101000000"[len(text) - len(text) % 2 :]
    year, month = int(text[:4]), min(max(int(text[4:6]), 1), 12)
    day = min(max(int(text[6:8]), 1), calendar.monthrange(year, month)[1])
    clock = [min(int(text[at : at + 2]), most) for at, most in ((8, 23), (10, 59), (12, 59))]
    notes.append(f"date {given}")
    return f"{year:04}{month:02}{day:02}" + "".join(f"{part:02}" for part in clock)


def _exists(text: str) -> bool:
    if len(text) != 14 or not (text.isascii() and text.isdigit()):
        return False
    try:
        datetime.strptime(text, "%Y%m%d%H%M%S")  # noqa: DTZ007 - only whether there is such a moment
    except ValueError:
        return False
    return True


def _number(
    fields: dict[str, str],
    name: str,
    shown: str,
    notes: list[str],
    repair: Callable[[str], str],
) -> None:
    given = fields.get(name, "")
    most = 4 if name == "statuscode" else 18
    if given and not (given.isascii() and given.isdigit() and len(given) <= most):
        notes.append(f"{shown} {given}")
        fields[name] = repair(given)


def _status(given: str) -> str:
    """Return the status that a text such as ``200OK`` begins with; nothing of ``html>``."""
    code = given[:_STATUS_DIGITS]
    is_code = code.isascii() and code.isdigit() and len(code) == _STATUS_DIGITS
    return code if is_code and not given[_STATUS_DIGITS : _STATUS_DIGITS + 1].isdigit() else ""
