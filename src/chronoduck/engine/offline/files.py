"""The files of a database that no process serves: listed, cloned, renamed, removed, always durably.

DuckDB keeps up to three files beside the database: ``.wal``; ``.wal.checkpoint``, which takes the
transactions that commit while a checkpoint runs; and ``.wal.recovery``, which joins the two after a
crash. A copy or a move without the second file loses acknowledged transactions.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path

from chronoduck.errors import DiskFullError
from chronoduck.units import format_bytes

__all__ = [
    "clone_database",
    "clone_file",
    "copy_bytes",
    "database_files",
    "files_bytes",
    "remove_database",
    "side_files",
    "sync_directory",
]

_FICLONE = 0x40049409
_SUFFIXES = (".wal", ".wal.checkpoint", ".wal.recovery")
_PIECE_BYTES = 64 * 2**20
_NO_CLONE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY)


def side_files(database: Path) -> tuple[Path, ...]:
    """Return the names that DuckDB uses for the files beside a database, the WAL first."""
    return tuple(database.with_name(database.name + suffix) for suffix in _SUFFIXES)


def database_files(database: Path) -> tuple[Path, ...]:
    """Return those of a database's files that exist, the database itself first."""
    return tuple(path for path in (database, *side_files(database)) if path.exists())


def files_bytes(database: Path) -> tuple[int, int]:
    """Return the bytes of the database file and those of the files beside it."""
    main = database.stat().st_size if database.exists() else 0
    return main, sum(path.stat().st_size for path in side_files(database) if path.exists())


def remove_database(database: Path) -> None:
    """Delete a database with everything beside it; does nothing when there is none."""
    for path in (*side_files(database), database):
        path.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Make renames, new names and deletions in the directory survive a power loss."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clone_database(database: Path, target: Path) -> None:
    """Copy a database with everything beside it, synced: by reflink where the file system can.

    Raises:
        DiskFullError: the volume cannot hold the copy.
    """
    remove_database(target)
    files = database_files(database)
    names = {
        path: target.with_name(target.name + path.name[len(database.name) :]) for path in files
    }
    try:
        for source, copy in names.items():
            clone_file(source, copy)
    except BaseException:
        remove_database(target)
        raise
    sync_directory(target.parent)


def clone_file(source: Path, target: Path) -> None:
    """Copy one file to a name that must not exist yet, and sync it.

    Raises:
        DiskFullError: the volume cannot hold the copy.
    """
    with source.open("rb", buffering=0) as file, target.open("xb", buffering=0) as copy:
        os.fchmod(copy.fileno(), 0o640)
        if not _reflink(file.fileno(), copy.fileno()):
            size = os.fstat(file.fileno()).st_size
            free = shutil.disk_usage(target.parent).free
            if free < size:
                raise DiskFullError(
                    f"the volume of {target.parent} has {format_bytes(free)} free; a copy of "
                    f"{source.name} needs {format_bytes(size)}",
                    hint=f"Free {format_bytes(size)} there: nothing is tried on the only copy.",
                )
            copy_bytes(file.fileno(), copy.fileno(), size)
        os.fsync(copy.fileno())


def _reflink(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def copy_bytes(source: int, target: int, size: int, start: int = 0) -> int:
    """Copy bytes between two descriptors at the same offsets; return how many there were."""
    done = start
    while done < size:
        count = _copy_piece(source, target, done, min(_PIECE_BYTES, size - done))
        if not count:
            break
        done += count
    return done - start


def _copy_piece(source: int, target: int, offset: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count, offset, offset)
    except OSError as error:
        if error.errno not in _NO_CLONE:
            raise
    data = os.pread(source, count, offset)
    view = memoryview(data)
    while view:
        view = view[os.pwrite(target, view, offset + len(data) - len(view)) :]
    return len(data)
