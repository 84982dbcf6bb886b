"""A directory that may be deleted with all that is in it, because it says whose it is."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["create", "is_owned", "remove"]

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
    (path / _MARK).touch()


def remove(path: Path) -> None:
    """Delete the directory, if a shadow made it."""
    if is_owned(path):
        shutil.rmtree(path, ignore_errors=True)
