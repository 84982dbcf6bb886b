"""A small body of JSON rows as the texts of its objects, all with the same members."""

from __future__ import annotations

import json
from dataclasses import dataclass

import orjson

__all__ = ["SMALL_BYTES", "SmallRows", "small_rows"]

SMALL_BYTES = 65_536
"""Bodies up to here can be put into one transaction with others."""
_MOST_VALUES = 200_000
"""Rows times names: every row gets a member for each name that any row has."""
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class SmallRows:
    """Rows as they were written: numbers keep every digit."""

    documents: tuple[str, ...]
    names: tuple[str, ...]
    """Members of every document, in the order of the first one."""
    size: int
    """Bytes of the body."""


def small_rows(body: bytes) -> SmallRows | None:
    """Return the rows of NDJSON, of one object or of an array of them; None when it is none of these.

    A member that some rows lack is null in them; where that makes too many of them, it is None, too:
    53 KB of 4,500 rows with a name each would become 20 million members. 10 ms for 64 KB.
    """
    try:
        found = _objects(body)
    except (ValueError, RecursionError):  # of which UnicodeDecodeError is one
        return None
    names: dict[str, None] = {}
    for _, members in found:
        names.update(dict.fromkeys(members))
    # A result of this service ends with a line that is none of its rows.
    if not names or "_chronoduck" in names or len({name.lower() for name in names}) < len(names):
        return None
    if len(names) * len(found) > max(_MOST_VALUES, 2 * sum(len(members) for _, members in found)):
        return None
    documents = tuple(_with_all(text, members, names) for text, members in found)
    return SmallRows(documents, tuple(names), len(body))


def _objects(body: bytes) -> list[tuple[str, dict[str, object]]]:
    """Return text and members of each object.

    Raises:
        ValueError: there is something else.
    """
    found = _array(body) if body.lstrip()[:1] == b"[" else _lines(body)
    if not all(isinstance(members, dict) for _, members in found):
        raise ValueError("not objects")
    return found


def _lines(body: bytes) -> list[tuple[str, dict[str, object]]]:
    lines = body.split(b"\n")
    return [(line.strip().decode(), orjson.loads(line)) for line in lines if line.strip()]


def _array(body: bytes) -> list[tuple[str, dict[str, object]]]:
    orjson.loads(body)  # the decoder below takes NaN for JSON
    text = body.decode().strip()
    found: list[tuple[str, dict[str, object]]] = []
    position = 1
    while True:
        while text[position] in " \t\r\n,":
            position += 1
        if text[position] == "]":
            return found
        members, end = _DECODER.raw_decode(text, position)
        found.append((text[position:end], members))
        position = end


def _with_all(text: str, members: dict[str, object], names: dict[str, None]) -> str:
    if len(members) == len(names):
        return text
    missing = [name for name in names if name not in members]
    added = ",".join(f"{orjson.dumps(name).decode()}:null" for name in missing)
    return f"{text[:-1]}{',' if members else ''}{added}}}"
