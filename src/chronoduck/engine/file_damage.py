"""Damage in the database file: an error of DuckDB says where to look, and only the file decides.

DuckDB 1.5 has no class of its own for such errors, and a user can write any words into a statement. So
words never decide: the block that they name is read again, and the file's length is compared with its
header. Imports nothing of the service, for processes that must start quickly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from chronoduck.engine.disk_format import (
    BLOCK_BYTES,
    HEADER_BYTES,
    free_blocks,
    is_block_intact,
    missing_blocks,
    read_header,
)
from chronoduck.errors import DatabaseFormatError

__all__ = ["Damage", "ReadableFile", "confirm", "find_damage_in", "points_at_file"]

_STORED = " does not match stored checksum "
_PLACE = " in block at location "
_LONGEST_NUMBER = 20
"""Digits of a number of 64 bits."""
_SHORT = "Could not read enough bytes"
_LOOKED_AT = 8
"""So many blocks of one error are read again: a user may name thousands, and each is 256 KB."""
_SETTLE_SECONDS = 0.5
"""A block, or a header, may be read while a checkpoint writes it."""


class ReadableFile(Protocol):
    """A database file, read through whatever descriptor may be used for it."""

    def read(self, offset: int, count: int) -> bytes: ...
    def size(self) -> int: ...


@dataclass(frozen=True)
class Damage:
    """What is wrong with a database file."""

    blocks: frozenset[int] = frozenset()
    """Blocks whose content does not fit their checksum."""
    missing: frozenset[int] = frozenset()
    """Blocks in use that lie behind the end of the file."""

    def __bool__(self) -> bool:
        return bool(self.blocks or self.missing)

    def __and__(self, other: Damage) -> Damage:
        return Damage(self.blocks & other.blocks, self.missing & other.missing)

    def __or__(self, other: Damage) -> Damage:
        return Damage(self.blocks | other.blocks, self.missing | other.missing)

    def __str__(self) -> str:
        parts = []
        if self.blocks:
            numbers = ", ".join(map(str, sorted(self.blocks)[:5]))
            more = f" and {len(self.blocks) - 5:,} more" if len(self.blocks) > 5 else ""
            parts.append(
                f"block {numbers} does not fit its checksum"
                if len(self.blocks) == 1
                else f"blocks {numbers}{more} do not fit their checksums"
            )
        if self.missing:
            parts.append(f"{len(self.missing):,} blocks at its end are missing")
        return " and ".join(parts)


def points_at_file(text: str) -> bool:
    """Whether an error of DuckDB is a reason to look at the file."""
    return _SHORT in text or any(_named_in(text))


def _named_in(text: str) -> Iterator[tuple[str, str]]:
    """Yield the stored checksum and the location of each block that an error names."""
    at = text.find(_STORED)
    while at >= 0:
        stored = _digits(text, at + len(_STORED))
        place = at + len(_STORED) + len(stored)
        if stored and text.startswith(_PLACE, place):
            location = _digits(text, place + len(_PLACE))
            if location:
                yield stored, location
        at = text.find(_STORED, at + 1)


def _digits(text: str, start: int) -> str:
    part = text[start : start + _LONGEST_NUMBER]
    ends = (n for n, letter in enumerate(part) if not (letter.isascii() and letter.isdigit()))
    return part[: next(ends, len(part))]


def find_damage_in(file: ReadableFile, blocks: Iterable[int] = ()) -> Damage:
    """Look once: which of these blocks are damaged, and which are missing at the end.

    Free blocks are not judged: a crash may have torn them.
    """
    headers = file.read(0, HEADER_BYTES)
    try:
        header = read_header(headers)
    except DatabaseFormatError:
        return Damage()  # it is written just now; a start judges headers
    used = [number for number in blocks if number < header.block_count]
    free = free_blocks(header, file.read) if used else frozenset[int]()
    damaged = frozenset(n for n in used if n not in free and not _is_intact(file, n))
    missing = frozenset(missing_blocks(header, file.size(), file.read))
    return Damage(damaged - missing, missing)


def confirm(text: str, file: ReadableFile, rest: Callable[[float], None] = time.sleep) -> Damage:
    """Return the damage that an error points at, and that two looks at the file have shown."""
    named = {
        (int(location) - HEADER_BYTES) // BLOCK_BYTES: int(stored)
        for stored, location in islice(_named_in(text), _LOOKED_AT)
        if len(location) < 18 and int(location) >= HEADER_BYTES
    }

    def look() -> Damage:
        found = find_damage_in(file, named)
        newer = frozenset(n for n, stored in named.items() if _is_newer_damage(file, n, stored))
        return Damage(found.blocks | (newer - found.missing), found.missing)

    first = look()
    if not first:
        return first
    rest(_SETTLE_SECONDS)
    return first & look()


def _is_intact(file: ReadableFile, number: int) -> bool:
    return is_block_intact(file.read(HEADER_BYTES + number * BLOCK_BYTES, BLOCK_BYTES))


def _is_newer_damage(file: ReadableFile, number: int, stored: int) -> bool:
    """Whether a block is damaged that may be newer than the last checkpoint.

    Only the checksum that DuckDB has read there can point at it. Zeros are no evidence: a user who knows
    of a hole in the file could name it.
    """
    block = file.read(HEADER_BYTES + number * BLOCK_BYTES, BLOCK_BYTES)
    return (
        len(block) == BLOCK_BYTES
        and any(block)
        and int.from_bytes(block[:8], "little") == stored
        and not is_block_intact(block)
    )
