"""The write-ahead log: a version record, then entries of size, checksum and data.

A transaction is complete when its flush entry is. DuckDB ends its replay silently at an entry that
does not fit, as after a torn write, so that a flipped bit in a length drops every commit behind it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from chronoduck.engine.disk_format.checksum import checksum, is_of_a_beginning

__all__ = [
    "CHECKPOINT",
    "ENTRY",
    "FLUSH_ENTRY",
    "WalCursor",
    "WalDamage",
    "entry_end",
    "find_damage",
    "read_version",
    "read_wal",
    "torn_end",
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
_SECTOR_BYTES = 512
_MOST_ENTRY_BYTES = 1 << 32
"""A length beyond it is not one that DuckDB wrote."""
_MOST_VERSION_BYTES = 64
"""More than any version record has, and less than a transaction behind one needs."""


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


@dataclass(frozen=True)
class WalDamage:
    """An entry that is not what was written, with commits behind it that DuckDB would drop."""

    offset: int
    """Where the log stops making sense."""
    good: WalCursor
    """What is before it."""
    lost_commits: int
    """Complete transactions behind it, at least."""


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


def find_damage(data: bytes, *, may_be_torn: bool = True) -> WalDamage | None:
    """Return what is wrong with a log at rest, None when a replay gives all that was committed.

    What a crash leaves is fine: one transaction at the end that is not whole. With ``may_be_torn`` that
    is also what a power cut leaves, which may have lost sectors in the middle of it. Complete
    transactions behind an entry that makes no sense are not what a crash leaves.
    """
    good = read_wal(data, WalCursor())
    position = good.offset
    if not data:
        return None
    if position == 0:  # without a commit behind it, it is what a crash leaves of a new log
        lost = data.count(FLUSH_ENTRY)
        is_crash = not lost or (may_be_torn and _is_torn(data, 0, lost))
        return None if is_crash else WalDamage(0, good, lost)
    while (following := entry_end(data, position)) is not None:
        position = following
    # A flush entry has neither data nor a place of its own: finding one behind is proof enough, unless
    # a value looks like one.
    lost = data.count(FLUSH_ENTRY, position)
    if may_be_torn and (not lost or _is_torn(data, good.offset, lost)):
        return None
    lost += _is_damaged_flush(data, position)
    return WalDamage(position, good, lost) if lost and not _is_unfinished(data, position) else None


def _is_unfinished(data: bytes, position: int) -> bool:
    """Whether the data ends inside of the entry, as when a process was killed while it wrote.

    An entry whose length was changed looks the same. Its checksum then fits a part of what follows.
    """
    content = position + ENTRY.size
    if content > len(data):
        return True
    size, expected = ENTRY.unpack_from(data, position)
    if content + size <= len(data) or size > _MOST_ENTRY_BYTES:
        return False
    if is_of_a_beginning(memoryview(data)[content:], expected):
        return False
    return not _has_transactions_behind(data, content)


def _has_transactions_behind(data: bytes, start: int) -> bool:
    """Whether flush entries there end transactions, instead of being part of a value that looks so.

    Behind a transaction stands the next one, or the end of the WAL. In doubt this is True, and the start
    is refused: the other mistake would drop what was acknowledged.
    """
    if data.endswith(FLUSH_ENTRY):
        return True
    found = data.find(FLUSH_ENTRY, start)
    while found >= 0:
        following = found + len(FLUSH_ENTRY)
        is_flush = data.startswith(FLUSH_ENTRY, following)
        if not is_flush and entry_end(data, following) is not None:
            return True
        found = data.find(FLUSH_ENTRY, following)
    return False


def _is_damaged_flush(data: bytes, position: int) -> bool:
    """Whether the entry is a flush entry but for some bytes: its transaction is lost, too.

    Any other damaged entry belongs to a transaction whose flush entry is counted.
    """
    entry = data[position : position + len(FLUSH_ENTRY)]
    differing = sum(one != other for one, other in zip(entry, FLUSH_ENTRY, strict=False))
    return len(entry) == len(FLUSH_ENTRY) and differing < len(FLUSH_ENTRY) // 2


def torn_end(data: bytes, root: int) -> int | None:
    """Return where the WAL's last complete transaction ends, None when nothing stands behind it.

    ``root`` is the header's: a WAL that the last checkpoint has taken into the file is never cut. Without
    its checkpoint entry it would be replayed twice. Ask ``find_damage`` first.

    DuckDB refuses an entry that is all there and has another checksum, as a power cut leaves it. It
    passes in silence over one that goes beyond the end of the WAL. That is what a kill leaves, and also
    a file that was cut short: its transaction may have been acknowledged.
    """
    good = read_wal(data, WalCursor())
    position = good.offset
    if position == 0:
        is_new = len(data) <= _MOST_VERSION_BYTES or not any(data[:_SECTOR_BYTES])
        return 0 if data and is_new else None
    has_checkpoint = False
    while (following := entry_end(data, position)) is not None:
        content = position + ENTRY.size
        has_checkpoint |= data[content : content + len(CHECKPOINT)] == CHECKPOINT
        position = following
    if good.offset == len(data) or good.checkpoint == root:
        return None
    # DuckDB joins a second WAL to one that ends with a checkpoint entry, so that this entry stays.
    return None if has_checkpoint and _goes_beyond(data, position) else good.offset


def _goes_beyond(data: bytes, position: int) -> bool:
    """Whether the data ends before the entry does, or where it would begin."""
    if position + ENTRY.size > len(data):
        return True
    size, _ = ENTRY.unpack_from(data, position)
    return bool(position + ENTRY.size + size > len(data))


def _is_torn(data: bytes, start: int, lost: int) -> bool:
    """Whether a power cut lost sectors of the last transaction, which was never acknowledged.

    DuckDB syncs each transaction before it writes the next one, so only one can be torn. A sector that
    was lost is empty from where the transaction begins, or from its own beginning: a flipped bit, or a
    piece of another file, is not.
    """
    if lost > 1 or not data.endswith(FLUSH_ENTRY):
        return False
    while start < len(data):
        end = min((start // _SECTOR_BYTES + 1) * _SECTOR_BYTES, len(data))
        if not any(data[start:end]):
            return True
        start = end
    return False
