"""What reports say of the database's files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["StoredFiles"]


class StoredFiles:
    """The database file and, while it holds commits of its own, the WAL beside it, as last seen."""

    def __init__(self, database: Path) -> None:
        self._paths = (database, database.with_name(database.name + ".wal"))
        self._found: Sequence[os.stat_result] = ()

    def look(self) -> None:
        """Look at them; blocks."""
        # stat only: opening and closing the file in this process would drop the engine's lock.
        found = []
        for path in self._paths:
            with contextlib.suppress(OSError):
                found.append(path.stat())
        self._found = found

    @property
    def exist(self) -> bool:
        """Whether there is a file."""
        return bool(self._found)

    @property
    def megabytes(self) -> float:
        """What they take together."""
        return round(sum(file.st_size for file in self._found) / 1e6, 3)

    def describe(self) -> dict[str, Any]:
        """Return their size and times."""
        found = self._found
        return {
            "size_mb": self.megabytes,
            "created": _iso(found[0].st_ctime) if found else None,
            "modified": _iso(max(file.st_mtime for file in found)) if found else None,
        }


def _iso(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds")
