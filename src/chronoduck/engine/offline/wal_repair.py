"""A WAL that holds the entry of a failed checkpoint, made one that DuckDB replays."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from chronoduck.engine.disk_format import (
    WalCursor,
    may_end_in_checkpoint,
    read_wal,
    without_failed_checkpoints,
)
from chronoduck.engine.offline.files import side_files, sync_directory
from chronoduck.engine.offline.replayed_wal import read_root
from chronoduck.errors import DatabaseFailedError, DiskFullError
from chronoduck.errors.system import reason_of

__all__ = ["drop_failed_checkpoints"]


def drop_failed_checkpoints(database: Path) -> int:
    """Take the entries of failed checkpoints out of the WAL; return how many bytes they were.

    No process has the database open. What is taken out is no transaction's; see
    ``without_failed_checkpoints``. A checkpoint whose root is not in the header has failed, too: DuckDB
    1.5 would go on behind its entry, where readers of the WAL stop. The new WAL takes the old one's name
    whole, or not at all.

    Raises:
        DiskFullError: There is no space for the new WAL; the old one is as it was.
        DatabaseFailedError: The WAL cannot be read, or the new one cannot be written.
    """
    try:
        return _drop_failed_checkpoints(database)
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (DiskFullError if is_full else DatabaseFailedError)(
            f"the WAL of {database} cannot be rewritten without the entry of a failed checkpoint: "
            f"{reason_of(error)}",
            hint="Free space, or make the directory writable. The WAL keeps what was committed.",
        ) from error


def _drop_failed_checkpoints(database: Path) -> int:
    wal = side_files(database)[0]
    try:
        data = wal.read_bytes()
    except FileNotFoundError:
        return 0
    repaired = without_failed_checkpoints(data)
    if _ends_in_failed_checkpoint(repaired, database):
        repaired = repaired[: read_wal(repaired, WalCursor()).offset]
    if repaired is data:
        return 0
    new = wal.with_name(f".{wal.name}.repaired")
    try:
        with new.open("wb") as file:
            os.fchmod(file.fileno(), wal.stat().st_mode & 0o777)
            file.write(repaired)
            file.flush()
            os.fsync(file.fileno())
        new.rename(wal)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    sync_directory(wal.parent)
    return len(data) - len(repaired)


def _ends_in_failed_checkpoint(data: bytes, database: Path) -> bool:
    """Whether the last entry is of a checkpoint that did not end, and no second WAL exists."""
    if not may_end_in_checkpoint(data):
        return False
    root = read_root(database)
    named = read_wal(data, WalCursor()).checkpoint
    return None not in (root, named) and root != named and not side_files(database)[1].exists()
