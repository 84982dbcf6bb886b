"""A mark beside the database while it is being opened: what dies of opening leaves it behind.

DuckDB may crash, hang or run out of memory while it replays a WAL, and takes the process along. The
next process finds the mark, and tries in children before it opens the file itself.
"""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["OpeningMark"]


class OpeningMark:
    """The mark of one database. It is not synced: after a power loss nothing died of opening."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".opening")

    @property
    def deaths(self) -> int:
        """How many processes in a row have died while they opened the database."""
        try:
            return int(json.loads(self._path.read_bytes())["deaths"])
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError):
            return 1  # it died while it wrote this

    def set(self, deaths: int) -> None:
        """Say that this process opens it now, after so many deaths; it counts as one more until then."""
        self._path.write_text(json.dumps({"deaths": deaths + 1}))

    def clear(self) -> None:
        """Say that this process lives."""
        self._path.unlink(missing_ok=True)
