"""A directory that may be deleted with its content, because a mark in it names its owner."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

__all__ = ["create", "is_owned", "remove", "remove_own"]

_MARK = "chronoduck-shadow"


def is_owned(path: Path) -> bool:
    """Whether a shadow made the directory."""
    return not path.is_symlink() and (path / _MARK).is_file()


def create(path: Path) -> None:
    """Make the directory, readable for this user alone, empty of what an earlier shadow left.

    Raises:
        FileExistsError: something is there that no shadow made.
    """
    remove(path)
    path.mkdir(mode=0o700, parents=True)
    path.chmod(0o700)
    (path / _MARK).write_text(str(os.getpid()))


def remove(path: Path) -> None:
    """Delete the directory, if a shadow made it."""
    if is_owned(path):
        shutil.rmtree(path, ignore_errors=True)


def remove_own(path: Path) -> None:
    """Delete the directory, if this process made it: a successor may have made one in its place."""
    with contextlib.suppress(OSError):
        if (path / _MARK).read_text() == str(os.getpid()):
            remove(path)
