"""A copy of a database file and its log as of one moment, while transactions go on.

Between two checkpoints DuckDB writes no block that the last checkpoint's state or a committed
transaction of the log refers to. So: first the log up to its last commit, then the file, then the
headers once more; if they are the same as before, log and file belong together. Run it in a process
that does not serve the file: closing any descriptor of it there would drop the engine's own lock.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from chronoduck.backup.failures import BackupError
from chronoduck.engine.disk_format import HEADER_BYTES, WalCursor, read_wal
from chronoduck.engine.replacing import wal_path

__all__ = ["copy_database"]

Progress = Callable[[int, int], None]
_PIECE_BYTES = 64 * 2**20
_ATTEMPTS = 5


def copy_database(
    source: Path, target: Path, on_progress: Progress = lambda done, total: None
) -> None:
    """Copy the file and its log's committed part to ``target``; ``on_progress`` gets bytes.

    Raises:
        BackupError: checkpoints followed each other too fast, or there is no space.
    """
    for _ in range(_ATTEMPTS):
        target.unlink(missing_ok=True)
        wal_path(target).unlink(missing_ok=True)
        if _copy_once(source, target, on_progress):
            return
    raise BackupError(
        f"{source} was checkpointed {_ATTEMPTS} times while it was copied",
        hint="Let the service run its own backups: it puts checkpoints off while one is copied.",
    )


def _copy_once(source: Path, target: Path, on_progress: Progress) -> bool:
    with source.open("rb", buffering=0) as file:
        headers = os.pread(file.fileno(), HEADER_BYTES, 0)
        log = _committed_log(source)
        size = os.fstat(file.fileno()).st_size
        _check_space(target.parent, size + len(log))
        with target.open("xb", buffering=0) as copy:
            _copy_bytes(file.fileno(), copy.fileno(), size, on_progress)
        is_consistent = os.pread(file.fileno(), HEADER_BYTES, 0) == headers
    if is_consistent and log:
        wal_path(target).write_bytes(log)
    return is_consistent


def _committed_log(source: Path) -> bytes:
    try:
        data = wal_path(source).read_bytes()
    except FileNotFoundError:
        return b""
    return data[: read_wal(data, WalCursor()).offset]


def _check_space(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed * 1.5:
        raise BackupError(
            f"the volume of {directory} has {free / 1e9:.2f} GB free; a backup of this database needs "
            f"{needed * 1.5 / 1e9:.2f} GB while it is made",
            hint="Free space, lower DUCKDB_BACKUP_KEEP_DAYS, or move DUCKDB_BACKUP_DIR.",
        )


def _copy_bytes(source: int, target: int, size: int, on_progress: Progress) -> None:
    done = 0
    while done < size:
        count = _copy_piece(source, target, done, min(_PIECE_BYTES, size - done))
        if not count:
            break  # the file became shorter: a checkpoint, which the headers tell
        done += count
        on_progress(done, size)


def _copy_piece(source: int, target: int, offset: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count, offset, offset)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    data = os.pread(source, count, offset)
    view = memoryview(data)
    while view:
        view = view[os.pwrite(target, view, offset + len(data) - len(view)) :]
    return len(data)
