"""A small body of JSON rows as the texts of its objects, all with the same members."""

from __future__ import annotations

import json
from dataclasses import dataclass

import orjson

from chronoduck.transfer.json_numbers import has_long_number

__all__ = ["SMALL_BYTES", "SmallRows", "small_rows"]

SMALL_BYTES = 65_536
"""Bodies up to here can be put into one transaction with others."""
_DECODER = json.JSONDecoder()
_MAX_LOOKS = 10_000
"""Kinds of rows times names: a few milliseconds."""
_MAX_ADDED = 1_000_000
"""Characters that are added to the rows."""


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

    A member that some rows lack is null in them.
    """
    if has_long_number(body):
        return None  # what reads JSON here rounds it
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
    documents = _with_all(found, names)
    return None if documents is None else SmallRows(documents, tuple(names), len(body))


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


def _with_all(
    found: list[tuple[str, dict[str, object]]], names: dict[str, None]
) -> tuple[str, ...] | None:
    """Return every document with all members; None if that would be long work on the event loop.

    Rows with the same members lack the same ones.
    """
    added: dict[frozenset[str], str] = {}
    documents, size = [], 0
    for text, members in found:
        if len(members) < len(names):
            given = frozenset(members)
            if given not in added:
                if len(added) * len(names) > _MAX_LOOKS:
                    return None
                missing = [name for name in names if name not in given]
                added[given] = ",".join(f"{orjson.dumps(name).decode()}:null" for name in missing)
            size += len(added[given])
            if size > _MAX_ADDED:
                return None
            text = f"{text[:-1]}{',' if members else ''}{added[given]}}}"
        documents.append(text)
    return tuple(documents)
