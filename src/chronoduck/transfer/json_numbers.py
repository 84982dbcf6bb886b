"""Numbers of JSON that have more digits than a DOUBLE: readers of JSON round them without a word.

They are found before the file is read, and put into quotes in a copy, so that each arrives as it was
written. Whole numbers are read with all their digits and need no such care.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO

__all__ = ["has_long_number", "keep_long_numbers"]

_SIGNS = b"0123456789."
_TOKEN = frozenset(b"0123456789.eE+-")
_RUN = b"0" * 17
"""Sixteen digits and a point: what has fewer is kept."""
_TO_RUNS = bytes(0x30 if byte in _SIGNS else 0x20 for byte in range(256))
_BLOCK_BYTES = 1_000_000
_BEFORE = frozenset(b":[, \t\r\n")
_AFTER = frozenset(b",]} \t\r\n")


def has_long_number(body: bytes) -> bool:
    """Whether a body of JSON has such a number; also true for some texts that look like one."""
    return any(True for _ in _tokens(body))


def keep_long_numbers(source: Path, target: Path) -> int:
    """Write a copy with each long number in quotes; return the line of the first one, 0 if there is none.

    Without one there is no copy.
    """
    with source.open("rb") as file:
        first = _first_place(file)
        if not first:
            return 0
        file.seek(0)
        with target.open("wb") as out:
            return _copy(file, out)


def _first_place(file: IO[bytes]) -> bool:
    return any(True for block in _blocks(file) for _ in _tokens(block))


def _copy(file: IO[bytes], out: IO[bytes]) -> int:
    line, found, is_inside = 1, 0, False
    for block in _blocks(file):
        done = 0
        for start, end in _tokens(block):
            gap = block[done:start]
            line += gap.count(b"\n")
            is_inside = _is_inside(gap, is_inside)
            out.write(gap)
            token = block[start:end]
            if is_inside:
                out.write(token)
            else:
                out.write(b'"' + token + b'"')
                found = found or line
            done = end
        rest = block[done:]
        line += rest.count(b"\n")
        is_inside = _is_inside(rest, is_inside)
        out.write(rest)
    return found


def _is_inside(text: bytes, was_inside: bool) -> bool:
    """Whether a string is open behind a text; strings hold no line breaks."""
    last = text.rfind(b"\n")
    if last >= 0:
        text, was_inside = text[last:], False
    quotes = text.replace(b"\\\\", b"").replace(b'\\"', b"").count(b'"')
    return was_inside ^ (quotes % 2 == 1)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the file in pieces that end neither in a number nor behind a backslash."""
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        data = rest + block
        end = len(data)
        while end > 0 and (data[end - 1] in _TOKEN or data[end - 1] == 0x5C):
            end -= 1
        rest = data[end:]
        if end:
            yield data[:end]
    if rest:
        yield rest


def _tokens(block: bytes) -> Iterator[tuple[int, int]]:
    """Yield where numbers are that a DOUBLE does not keep, also those in strings."""
    runs = block.translate(_TO_RUNS)
    position = runs.find(_RUN)
    while position >= 0:
        start, end = position, position
        while end < len(block) and block[end] in _TOKEN:
            end += 1
        while start and block[start - 1] in _TOKEN:
            start -= 1
        is_token = (not start or block[start - 1] in _BEFORE) and (
            end == len(block) or block[end] in _AFTER
        )
        if is_token and _is_long(block[start:end]):
            yield start, end
        position = runs.find(_RUN, end)


def _is_long(token: bytes) -> bool:
    if not set(token) & set(b".eE"):
        return False
    try:
        number = Decimal(token.decode())
        kept = Decimal(repr(float(token)))
    except (ValueError, InvalidOperation, OverflowError):
        return False
    return number != kept
