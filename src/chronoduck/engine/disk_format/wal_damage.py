"""Damage in a WAL at rest, told from what a crash or a power cut leaves."""

from __future__ import annotations

from dataclasses import dataclass

from chronoduck.engine.disk_format.checksum import is_of_a_beginning
from chronoduck.engine.disk_format.failed_checkpoint import without_failed_checkpoints
from chronoduck.engine.disk_format.wal_file import (
    CHECKPOINT,
    ENTRY,
    FLUSH_ENTRY,
    WalCursor,
    entry_end,
    read_wal,
)

__all__ = ["WalDamage", "find_damage", "torn_end"]

_SECTOR_BYTES = 512
_MOST_ENTRY_BYTES = 1 << 32
"""A length beyond it is not one that DuckDB wrote."""
_MOST_VERSION_BYTES = 64
"""More than any version record has, and less than a transaction behind one needs."""


@dataclass(frozen=True)
class WalDamage:
    """An entry that is not what was written, with commits behind it that DuckDB would drop."""

    offset: int
    """Where the log stops making sense."""
    good: WalCursor
    """What is before it."""
    lost_commits: int
    """Complete transactions behind it, at least."""


def find_damage(data: bytes, *, may_be_torn: bool = True) -> WalDamage | None:
    """Return what is wrong with a log at rest, None when a replay gives all that was committed.

    What a crash leaves is fine: one transaction at the end that is not whole. With ``may_be_torn`` that
    is also what a power cut leaves, which may have lost sectors in the middle of it. Complete
    transactions behind an entry that makes no sense are not what a crash leaves. Neither is the entry of
    a failed checkpoint damage: offsets are those of the WAL without it.
    """
    data = without_failed_checkpoints(data)
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
