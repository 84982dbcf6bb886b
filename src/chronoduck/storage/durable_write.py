"""Files that are there whole or not at all, even after a power cut."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "fsync_directory",
    "make_directories",
    "replace_file",
    "replace_finished",
    "sync_file",
    "write_durably",
]


def fsync_directory(directory: Path) -> None:
    """Make renames and new entries of the directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(directory: Path, mode: int = 0o750) -> None:
    """Create a directory and those above it, each of them durable."""
    missing = []
    current = directory
    while not current.is_dir():
        missing.append(current)
        current = current.parent
    for path in reversed(missing):
        path.mkdir(mode=mode, exist_ok=True)
        fsync_directory(path.parent)


def write_durably(path: Path, parts: Iterable[bytes | memoryview], mode: int = 0o640) -> None:
    """Write a file: to a temporary name, fsync, rename, fsync of the directory.

    Raises:
        OSError: nothing is there under the name, or what was there before.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        replace_file(Path(temporary), path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def sync_file(path: Path) -> None:
    """Bring what was written to a file onto the disk, whoever wrote it.

    Raises:
        OSError: the disk failed, or had no space for it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_finished(source: Path, target: Path) -> None:
    """Give a file its name once its bytes are on the disk, durably.

    Every rename of a finished file goes through this or ``write_durably``: without the first sync a
    power cut may leave an empty file of that name, without the second none.
    """
    sync_file(source)
    replace_file(source, target)


def replace_file(source: Path, target: Path) -> None:
    """Rename within one volume, durably; the file itself was synced before."""
    source.replace(target)
    fsync_directory(target.parent)
