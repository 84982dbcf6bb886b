"""Tables that hold values which end DuckDB: nobody's statement reads them until they are dropped.

``chronoduck verify`` writes the list beside the database; the service looks at it before each statement.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.tokens import read_tokens

__all__ = ["QuarantineList"]

_SUFFIX = ".quarantined.json"
_LOOK_SECONDS = 1.0


class QuarantineList:
    """The list of one database, for one event loop."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + _SUFFIX)
        self._looked = float("-inf")
        self._looking: asyncio.Future[None] | None = None
        self._seen: tuple[int, int] | None = None
        self._names: frozenset[str] = frozenset()

    def write(self, columns: Sequence[str], names: Sequence[str]) -> None:
        """Keep what was found; without columns the list is removed."""
        self._looked = float("-inf")
        if not columns:
            self._path.unlink(missing_ok=True)
            return
        new = self._path.with_name(f".{self._path.name}.new")
        new.write_text(json.dumps({"columns": list(columns), "names": list(names)}, indent=1))
        new.replace(self._path)

    async def follow(self) -> None:
        """Have a thread look whether the list has changed, once a second; before ``check``."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look_now())
        await asyncio.shield(self._looking)

    async def _look_now(self) -> None:
        now = time.monotonic()
        await asyncio.to_thread(self.look)
        self._looked = now  # only now: who comes meanwhile must not go by the list of before

    def look(self) -> frozenset[str]:
        """Return the tables, views and macros that are not read, in lower case; blocks."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._names, self._seen = frozenset(), None
            return self._names
        seen = (found.st_mtime_ns, found.st_size)
        if seen != self._seen:
            self._names = frozenset(json.loads(self._path.read_text())["names"])
            self._seen = seen
        return self._names

    def check(self, sql: str) -> None:
        """Refuse a statement that names one of them, but to drop it or a column of it.

        Raises:
            StatementRefusedError: rule ``quarantined``.
        """
        names = self._names
        if not names:
            return
        lower = sql.lower()
        if not any(name in lower for name in names):
            return
        tokens = read_tokens(sql)
        words = [token.text.lower() for token in tokens if token.is_name or token.kind == "string"]
        used = sorted(names.intersection(words))
        drops = words[:1] == ["drop"] or (words[:1] == ["alter"] and "drop" in words)
        if used and not drops:
            refuse(
                "quarantined",
                f"{used[0]} holds values that end the database engine, as chronoduck verify has found",
            )
