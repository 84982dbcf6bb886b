"""The entry of a checkpoint that failed before it began, with transactions behind it.

DuckDB buffers the entry of a checkpoint. When the disk refuses it, the checkpoint fails and ends the
instance, but the buffer keeps the entry. A transaction that was already waiting to commit then writes it
out before its own entries, behind what the first attempt had written. DuckDB refuses such a WAL, or
passes over that transaction in silence, although it was committed.
"""

from __future__ import annotations

from chronoduck.engine.disk_format.wal_file import (
    CHECKPOINT,
    ENTRY,
    FLUSH_ENTRY,
    entry_end,
    version_end,
)

__all__ = ["may_end_in_checkpoint", "without_failed_checkpoints"]

_ROOT_FIELD = b"\x65\x00"
_MOST_BYTES = 96
"""More than a checkpoint entry and its flush entry have."""


def without_failed_checkpoints(data: bytes) -> bytes:
    """Return the WAL without such entries; the same object when it has none.

    The entry of a checkpoint that may have run is the last one of its WAL, and stays: from then on
    DuckDB commits into a second WAL.
    """
    if CHECKPOINT + _ROOT_FIELD not in data:
        return data
    kept, begin, position = bytearray(), 0, version_end(data)
    while position:
        failed = _failed_end(data, position)
        following = entry_end(data, position) if failed is None else failed
        if following is None:
            break
        if failed is not None:
            kept += data[begin:position]
            begin = failed
        position = following
    return bytes(kept + data[begin:]) if begin else data


def may_end_in_checkpoint(data: bytes) -> bool:
    """Whether the last bytes of a WAL look like a checkpoint entry: cheap, before the WAL is read."""
    return CHECKPOINT in data[-_MOST_BYTES:]


def _failed_end(data: bytes, position: int) -> int | None:
    """Return where the entry of a failed checkpoint ends that begins there, None when none does."""
    end = _checkpoint_end(data, position)
    if end is not None:
        return end if end < len(data) else None
    return None if _is_plain(data, position) else _repeated_end(data, position)


def _repeated_end(data: bytes, position: int) -> int | None:
    """Return where the entry ends of which a torn beginning stands there, and then the whole of it."""
    for repeated in range(position + 1, min(position + _MOST_BYTES, len(data))):
        torn = data[position:repeated]
        if data.startswith(torn, repeated):
            end = _checkpoint_end(data, repeated)
            if end is not None and len(torn) < end - repeated:
                return end
    return None


def _checkpoint_end(data: bytes, position: int) -> int | None:
    """Return the end of a checkpoint entry and its flush entry, None when they do not stand there."""
    end = entry_end(data, position) if _is_checkpoint(data, position) else None
    if end is None or not data.startswith(FLUSH_ENTRY, end):
        return None
    return end + len(FLUSH_ENTRY)


def _is_checkpoint(data: bytes, position: int) -> bool:
    return data.startswith(CHECKPOINT, position + ENTRY.size)


def _is_plain(data: bytes, position: int) -> bool:
    return not _is_checkpoint(data, position) and entry_end(data, position) is not None
