"""Names of files that are set aside. They may hold the only copy of something: none is overwritten.

A name has the time in whole seconds, and a clock can be set back. So a name that is taken gets a
number, and a rename first creates its target exclusively: what it goes over is its own empty file.
"""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from chronoduck.engine.disk_format import WalCursor, read_wal
from chronoduck.engine.offline.files import side_files

__all__ = ["SetAside", "find_set_aside", "free_name", "free_suffix", "rename_aside"]

_WORDS = re.compile(r"(\.wal(?:\.checkpoint|\.recovery)?)?\.(corrupt|rest)-\d{8}T\d{6}Z(?:-\d+)*")


@dataclass(frozen=True)
class SetAside:
    """A file that a recovery took out of the way, or the end of a WAL that a start left out."""

    path: Path
    size: int
    is_rest: bool
    """Whether no database has what it holds: a start left it out, because DuckDB cannot replay it."""
    is_wal: bool

    def count_transactions(self) -> int:
        """Return how many whole transactions a WAL holds; those behind damage are not counted."""
        data = self.path.read_bytes()
        # The end of a WAL has no version record, unless it is all of it.
        return max(read_wal(data, WalCursor(1)).commits, read_wal(data, WalCursor()).commits)


def find_set_aside(database: Path) -> list[SetAside]:
    """Return the files beside a database that were set aside and are still there."""
    found = []
    try:
        with os.scandir(database.parent) as entries:
            for entry in entries:
                name = entry.name.removeprefix(database.name)
                match = _WORDS.fullmatch(name) if name != entry.name else None
                if match is not None and entry.is_file(follow_symlinks=False):
                    size, is_rest = entry.stat().st_size, match[2] == "rest"
                    found.append(SetAside(Path(entry.path), size, is_rest, match[1] is not None))
    except OSError:
        return []  # the directory is looked at elsewhere
    return sorted((each for each in found if each.size), key=lambda each: each.path.name)


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
