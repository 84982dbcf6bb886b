"""The write-ahead log: a version record, then entries of size, checksum and data.

A transaction is complete when its flush entry is. DuckDB ends its replay silently at an entry that
does not fit, as after a torn write, so that a flipped bit in a length drops every commit behind it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from chronoduck.engine.disk_format.checksum import checksum

__all__ = [
    "CHECKPOINT",
    "ENTRY",
    "FLUSH_ENTRY",
    "WalCursor",
    "entry_end",
    "read_version",
    "read_wal",
    "transaction_ends",
    "version_end",
    "wal_owner",
]

ENTRY = struct.Struct("<QQ")
_VERSION = b"\x64\x00\x62"
_FLUSH = b"\x64\x00\x64\xff\xff"
_ROW_GROUP = b"\x64\x00\x1d"
CHECKPOINT = b"\x64\x00\x63"
FLUSH_ENTRY = ENTRY.pack(len(_FLUSH), checksum(_FLUSH)) + _FLUSH
_END_FIELD = 0xFFFF


@dataclass(frozen=True)
class WalCursor:
    """How far the log was read: everything before ``offset`` is complete transactions."""

    offset: int = 0
    """Bytes; the end of the last complete transaction (or of the version record)."""
    commits: int = 0
    """Transactions before it."""
    needs_blocks: bool = False
    """Whether one of them since the reading began put its rows into the database file itself."""
    checkpoint: int | None = None
    """The root (``DatabaseHeader.meta_block``) that the checkpoint entry names: the log of a checkpoint
    that succeeded ends with it, until DuckDB deletes the log."""


def read_wal(data: bytes | memoryview, start: WalCursor) -> WalCursor:
    """Read the log on from ``start``, of which ``data`` is the continuation; return how far it goes.

    Stops at the first entry that is incomplete or whose checksum is wrong: the rest is still being
    written, torn, or damaged. Stops at a checkpoint entry, too: see ``failed_checkpoint``.
    """
    position, commits = 0, start.commits
    end = position
    needs_blocks = pending_blocks = False
    checkpoint = None
    if start.offset == 0:
        position, _ = read_version(data)
        if position == 0:
            return start
        end = position
    while True:
        following = entry_end(data, position)
        if following is None:
            break
        content = position + ENTRY.size
        if data[content : content + len(_ROW_GROUP)] == _ROW_GROUP:
            pending_blocks = True
        elif data[content : content + len(CHECKPOINT)] == CHECKPOINT:
            checkpoint = _checkpoint_root(data, content)
            break
        elif data[content : content + len(_FLUSH)] == _FLUSH:
            end, commits, needs_blocks = following, commits + 1, needs_blocks or pending_blocks
        position = following
    return WalCursor(start.offset + end, commits, needs_blocks, checkpoint)


def transaction_ends(data: bytes | memoryview) -> list[int]:
    """Return the end of each complete transaction before a checkpoint entry, in order.

    ``read_wal(data, WalCursor()).commits`` is their number, and its ``offset`` the last of them.
    """
    ends: list[int] = []
    position = version_end(data)
    while position and (following := entry_end(data, position)) is not None:
        content = position + ENTRY.size
        if data[content : content + len(CHECKPOINT)] == CHECKPOINT:
            break
        if data[content : content + len(_FLUSH)] == _FLUSH:
            ends.append(following)
        position = following
    return ends


def _checkpoint_root(data: bytes | memoryview, content: int) -> int:
    """Return the root that a checkpoint entry names; a root of 0 is not written out."""
    field = content + len(CHECKPOINT) + 2
    if data[field : field + 2] != b"\x64\x00":
        return 0
    return _number(data, field + 2)[0]


def entry_end(data: bytes | memoryview, position: int) -> int | None:
    """Return the end of the entry, None when it is not whole and right."""
    content = position + ENTRY.size
    if content > len(data):
        return None
    size, expected = ENTRY.unpack_from(data, position)
    end = content + size
    if size == 0 or end > len(data) or checksum(data[content:end]) != expected:
        return None
    return int(end)


def read_version(data: bytes | memoryview) -> tuple[int, int | None]:
    """Return the end of the version record, 0 when it is not whole, and the checkpoint it follows.

    The record has no checksum. Formats before DuckDB 1.4 do not name the checkpoint.
    """
    end, _, iteration = _read_version(data)
    return end, iteration


def wal_owner(data: bytes | memoryview) -> tuple[str, int] | None:
    """Return which database and checkpoint the WAL follows, None when it does not say so.

    As ``database_id`` and ``DatabaseHeader.iteration`` of the file's headers.
    """
    _, identifier, iteration = _read_version(data)
    return None if iteration is None or not identifier else (identifier, iteration)


def _read_version(data: bytes | memoryview) -> tuple[int, str, int | None]:
    nothing = 0, "", None
    if bytes(data[: len(_VERSION)]) != _VERSION:
        return nothing
    position, identifier, iteration = len(_VERSION), "", None
    try:
        while True:
            field = int.from_bytes(data[position : position + 2], "little")
            position += 2
            if field == _END_FIELD:
                return (position, identifier, iteration) if position <= len(data) else nothing
            if field == 102:  # the database's identifier: a list of bytes, as numbers
                count, position = _number(data, position)
                for _ in range(count):
                    byte, position = _number(data, position)
                    identifier += f"{byte:02x}"
            elif field == 101:  # version
                _, position = _number(data, position)
            elif field == 103:
                iteration, position = _number(data, position)
            else:
                return nothing
    except IndexError:
        return nothing


def version_end(data: bytes | memoryview) -> int:
    """Return the end of the version record at the WAL's start; 0 when it is not whole."""
    return read_version(data)[0]


def _number(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """Return a LEB128 number and where it ends."""
    result = shift = 0
    while True:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
