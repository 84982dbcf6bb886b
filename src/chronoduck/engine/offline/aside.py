"""Names of files that are set aside. They may hold the only copy of something: none is overwritten.

A name has the time in whole seconds, and a clock can be set back. So a name that is taken gets a
number, and a rename first creates its target exclusively: what it goes over is its own empty file.
"""

from __future__ import annotations

import itertools
import os
from datetime import UTC, datetime
from pathlib import Path

from chronoduck.engine.offline.files import side_files

__all__ = ["free_name", "free_suffix", "rename_aside"]


def free_suffix(database: Path, word: str) -> str:
    """Return ``word-TIME``, or ``word-TIME-2``: no file of the database has that name yet."""
    files = (database, *side_files(database))
    for suffix in _suffixes(word):
        if not any(os.path.lexists(f"{path}.{suffix}") for path in files):
            return suffix
    raise AssertionError  # the numbers do not end


def free_name(path: Path, word: str, ending: str = "") -> Path:
    """Return ``PATH.word-TIME`` with the ending, or with a number before it: no file is there."""
    names = (path.with_name(f"{path.name}.{each}{ending}") for each in _suffixes(word))
    return next(name for name in names if not os.path.lexists(name))


def _suffixes(word: str) -> itertools.chain[str]:
    first = f"{word}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    return itertools.chain([first], (f"{first}-{number}" for number in itertools.count(2)))


def rename_aside(path: Path, target: Path) -> Path:
    """Rename the file; return its new name, which has a number where the target is taken.

    An empty file of that name is what a process left that was killed here, and is used.
    """
    for number in itertools.count(1):
        name = target if number == 1 else target.with_name(f"{target.name}-{number}")
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
        except FileExistsError:
            if name.is_symlink() or not name.is_file() or name.stat().st_size:
                continue
        path.rename(name)
        return name
    raise AssertionError  # the numbers do not end
