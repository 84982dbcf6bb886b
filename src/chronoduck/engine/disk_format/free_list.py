"""The list of free blocks that each checkpoint leaves, and with it how long a sound file must be."""

from __future__ import annotations

from collections.abc import Callable

from chronoduck.engine.disk_format.database_file import (
    BLOCK_BYTES,
    HEADER_BYTES,
    DatabaseHeader,
)

__all__ = ["ReadAt", "free_blocks", "missing_blocks"]

_NOWHERE = (1 << 64) - 1
_BLOCK_MASK = (1 << 56) - 1
_PLACE_SHIFT = 56
_CHECKSUM_BYTES = 8
_PIECE_BYTES = 4088
"""Of a block of metadata; the first 8 bytes are a pointer to the next piece."""
_NUMBER_BYTES = 8

ReadAt = Callable[[int, int], bytes]
"""Returns so many bytes from an offset of the database file, fewer at its end."""


def missing_blocks(header: DatabaseHeader, size: int, read: ReadAt) -> tuple[int, ...]:
    """Return the blocks in use that lie behind the end of a file of so many bytes.

    A checkpoint writes its header first and cuts free blocks off the file after it. So the header may
    count blocks that are not there, but these are in its list of free blocks. When the list cannot
    be read, or lies behind the end itself, every block that the header counts is taken for used.
    """
    there = max(0, size - HEADER_BYTES) // BLOCK_BYTES
    if there >= header.block_count:
        return ()
    free = free_blocks(header, read)
    return tuple(number for number in range(there, header.block_count) if number not in free)


def free_blocks(header: DatabaseHeader, read: ReadAt) -> frozenset[int]:
    """Return the blocks that the last checkpoint did not use; empty when its list cannot be read."""
    pieces = _Pieces(header, read)
    count = pieces.number()
    if count is None or count > header.block_count:
        return frozenset()
    found = set()
    for _ in range(count):
        number = pieces.number()
        if number is None or number >= header.block_count:
            return frozenset()
        found.add(number)
    return frozenset(found)


class _Pieces:
    """A chain of pieces of metadata, read as one stream of numbers."""

    def __init__(self, header: DatabaseHeader, read: ReadAt) -> None:
        self._read = read
        self._next = header.free_list
        self._left = header.block_count * 64
        """Pieces that may follow; a damaged chain could be a ring."""
        self._data = b""
        self._offset = 0

    def number(self) -> int | None:
        """Return the next number; None where the chain ends or leads nowhere."""
        while self._offset + _NUMBER_BYTES > len(self._data):
            if not self._follow():
                return None
        start, self._offset = self._offset, self._offset + _NUMBER_BYTES
        return int.from_bytes(self._data[start : self._offset], "little")

    def _follow(self) -> bool:
        if self._next == _NOWHERE or not self._left:
            return False
        self._left -= 1
        block, place = self._next & _BLOCK_MASK, self._next >> _PLACE_SHIFT
        start = HEADER_BYTES + block * BLOCK_BYTES + _CHECKSUM_BYTES + place * _PIECE_BYTES
        piece = self._read(start, _PIECE_BYTES)
        if len(piece) < _PIECE_BYTES:
            return False
        self._next = int.from_bytes(piece[:_NUMBER_BYTES], "little")
        self._data = self._data[self._offset :] + piece[_NUMBER_BYTES:]
        self._offset = 0
        return True
