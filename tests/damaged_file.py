"""Damage in a database file: bytes that change on the disk, and an end that is cut off."""

from __future__ import annotations

from pathlib import Path

from chronoduck.engine.disk_format import BLOCK_BYTES, HEADER_BYTES

__all__ = ["block_of", "invert", "zero"]


def block_of(offset: int) -> int:
    """Return the number of the block at an offset of the file."""
    return (offset - HEADER_BYTES) // BLOCK_BYTES


def invert(path: Path, number: int, place: int = 20_000) -> None:
    """Invert four bytes in a block."""
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES + number * BLOCK_BYTES + place)
        old = file.read(4)
        file.seek(-4, 1)
        file.write(bytes(byte ^ 255 for byte in old))


def zero(path: Path, number: int) -> None:
    """Write zeros over a block, its checksum included."""
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES + number * BLOCK_BYTES)
        file.write(bytes(BLOCK_BYTES))
