"""Marks in the replica up to where a copy of the database was replayed, or proven to open."""

from __future__ import annotations

import time
from collections import deque

from chronoduck.engine.disk_format import read_header
from chronoduck.engine.proving import WalPosition
from chronoduck.replication.archive import Archive
from chronoduck.replication.generation import Generation
from chronoduck.replication.records import ProofName

__all__ = ["LEVELS", "ProofMarks"]

LEVELS = ("replayed", "proven")
_WRITE_SECONDS = 10.0
"""A mark of one level is written so often at most; the newest one wins."""
_POINTS = 20_000


class ProofMarks:
    """Takes positions in the local WAL and writes them to the generations that hold them.

    A mark never reaches beyond what was shipped: DuckDB may still take back the rest of the WAL.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._noted: dict[str, WalPosition] = {}
        self._written: dict[str, ProofName] = {}
        self._next_write = dict.fromkeys(LEVELS, 0.0)
        self._points: deque[tuple[WalPosition, str, int]] = deque(maxlen=_POINTS)
        """Position, generation and time of what was shipped since this process began."""

    def note(self, level: str, until: WalPosition) -> None:
        """Take note that ``level`` holds up to a position; it is written at the next ``write``."""
        if level in LEVELS and until > self._noted.get(level, WalPosition(-1, 0)):
            self._noted[level] = until

    def note_shipped(self, generation: Generation, time_us: int) -> None:
        """Take note of a point in the replica."""
        iteration = read_header(generation.headers).iteration
        point = WalPosition(iteration, generation.cursor.offset), generation.name, time_us
        if not self._points or self._points[-1] != point:
            self._points.append(point)

    def until_us(self, level: str) -> int:
        """Return the time of the newest point up to which a level holds, 0 when there is none."""
        found = self._newest(level)
        return found[2] if found else 0

    def _newest(self, level: str) -> tuple[WalPosition, str, int] | None:
        until = self._noted.get(level)
        if until is None:
            return None
        for point in reversed(self._points):
            position = point[0]
            if position.iteration == until.iteration and position.offset <= until.offset:
                return point
            if position.iteration < until.iteration:
                break
        return None

    def write(self) -> None:
        """Write what is new and due; remove the mark of the same generation that it replaces.

        Raises:
            StoreError: the store failed; call again.
        """
        for level in LEVELS:
            found = self._newest(level)
            if found is None or time.monotonic() < self._next_write[level]:
                continue
            mark = ProofName(found[1], level, found[0].offset)
            before = self._written.get(level)
            if mark == before:
                continue
            self._archive.write_note(
                mark.blob, {"kind": "proof", "level": level, "time_us": found[2]}
            )
            self._written[level] = mark
            self._next_write[level] = time.monotonic() + _WRITE_SECONDS
            if before is not None and before.generation == mark.generation:
                self._archive.store.delete([before.blob])
