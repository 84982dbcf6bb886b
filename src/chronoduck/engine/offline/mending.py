"""A WAL that holds the entry of a failed checkpoint, made one that DuckDB replays."""

from __future__ import annotations

import os
from pathlib import Path

from chronoduck.engine.disk_format import without_failed_checkpoints
from chronoduck.engine.offline.files import side_files, sync_directory

__all__ = ["drop_failed_checkpoints"]


def drop_failed_checkpoints(database: Path) -> int:
    """Take the entries of failed checkpoints out of the WAL; return how many bytes they were.

    No process has the database open. What is taken out is no transaction's; see
    ``without_failed_checkpoints``. The new WAL takes the old one's name whole, or not at all.

    Raises:
        OSError: The WAL cannot be read, or the new one cannot be written.
    """
    wal = side_files(database)[0]
    try:
        data = wal.read_bytes()
    except FileNotFoundError:
        return 0
    mended = without_failed_checkpoints(data)
    if mended is data:
        return 0
    new = wal.with_name(f".{wal.name}.mended")
    try:
        with new.open("wb") as file:
            os.fchmod(file.fileno(), wal.stat().st_mode & 0o777)
            file.write(mended)
            file.flush()
            os.fsync(file.fileno())
        new.rename(wal)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    sync_directory(wal.parent)
    return len(data) - len(mended)
