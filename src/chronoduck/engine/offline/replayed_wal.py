"""The WAL that DuckDB would replay, out of the one or two files that a crash leaves.

A checkpoint first writes an entry into the WAL that names the root it is about to write. From then
on transactions commit into ``.wal.checkpoint``. At the next open DuckDB compares that root with the
file's header: equal means that the file holds the WAL already; else both WALs count, in order.
"""

from __future__ import annotations

from pathlib import Path

from chronoduck.engine.disk_format import (
    HEADER_BYTES,
    WalCursor,
    read_header,
    read_wal,
    version_end,
    without_failed_checkpoints,
)
from chronoduck.engine.offline.files import side_files
from chronoduck.errors import DatabaseFormatError

__all__ = ["join_wal", "read_root", "replayed_wal"]


def join_wal(main: bytes, checkpoint: bytes | None, root: int | None) -> bytes:
    """Return the complete transactions that DuckDB would replay, as one WAL.

    ``main`` and ``checkpoint`` are the contents of ``.wal`` and ``.wal.checkpoint`` (None: there is
    none), ``root`` is what the newer header names (None: unknown, and no checkpoint counts as done).
    """
    main = without_failed_checkpoints(main)
    cursor = read_wal(main, WalCursor())
    kept = main[: cursor.offset]
    if cursor.checkpoint is None:
        return kept  # a second file is left over from an older checkpoint: DuckDB ignores it
    later = _committed(checkpoint)
    if cursor.checkpoint == root:
        return later
    return kept + later[version_end(later) :] if kept else later


def _committed(log: bytes | None) -> bytes:
    return b"" if log is None else log[: read_wal(log, WalCursor()).offset]


def read_root(database: Path) -> int | None:
    """Return the root that the file's newer header names, None when the headers are damaged."""
    try:
        with database.open("rb") as file:
            return read_header(file.read(HEADER_BYTES)).meta_block
    except (OSError, DatabaseFormatError):
        return None


def replayed_wal(database: Path) -> bytes:
    """Return ``join_wal`` of a database that no process has open; empty when there is no WAL.

    Raises:
        OSError: a file is there and cannot be read.
    """
    wal, checkpoint, _ = side_files(database)
    main = wal.read_bytes() if wal.exists() else b""
    later = checkpoint.read_bytes() if checkpoint.exists() else None
    return join_wal(main, later, read_root(database))
