"""Greedy spillers: whose statements end, because their spill files fill the volume of the database.

DuckDB does not tell which statement a spill file belongs to. So each look shares what the files grew by
among the principals whose statements run, and forgets those that run none: their files are gone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chronoduck.engine.spill_bound import SPILL_FLOORS, is_same_volume
from chronoduck.errors import DiskFullError
from chronoduck.logs import get_logger
from chronoduck.service.penalties import party_of
from chronoduck.service.records import RunningStatement
from chronoduck.settings import Settings

if TYPE_CHECKING:
    from chronoduck.service.runner import StatementRunner

__all__ = ["GreedySpillers"]

_LEAST_BYTES = 8_000_000
"""Ending statements for less than that would not help."""


class GreedySpillers:
    """Looks at the engine's spill files as often as the disk guard looks. For one event loop."""

    def __init__(self, settings: Settings, find_directory: Callable[[], Path | None]) -> None:
        """``find_directory`` returns the one of spill files, while the database is open."""
        self._directory = settings.database_path.parent
        self._kept_bytes = SPILL_FLOORS * settings.disk_floor
        self._find_directory = find_directory
        self._shares: dict[str, float] = {}
        """Bytes by which the spill files grew, by the party whose statements run."""
        self._found = self._spilled = 0
        """Bytes of the spill files: as measured last, and when they were weighed before."""
        self._log = get_logger("engine")

    def look(self, runner: StatementRunner, free_bytes: int) -> None:
        """End the statements of the party that spilled the most, if too little stays free."""
        running = [each for each in runner.list_running() if each.state == "running"]
        greediest = self.weigh({party_of(each.caller) for each in running}, free_bytes)
        if greediest is None:
            return
        self._log.warning("spiller_stopped", party=greediest, free_bytes=free_bytes)

        def is_meant(statement: RunningStatement) -> bool:
            return party_of(statement.caller) == greediest

        runner.interrupt_running(is_meant, _refusal)

    def weigh(self, parties: set[str], free_bytes: int) -> str | None:
        """Note what was spilled since the last look; return whose statements have to end."""
        spilled = self._found
        grown, self._spilled = max(0, spilled - self._spilled), spilled
        self._shares = {
            party: self._shares.get(party, 0.0) + grown / len(parties) for party in parties
        }
        if free_bytes >= self._kept_bytes or spilled < _LEAST_BYTES or not grown:
            return None
        return max(self._shares, key=lambda party: self._shares[party], default=None)

    def measure(self) -> None:
        """Look how large the spill files are; blocks, for a thread."""
        directory = self._find_directory()
        try:
            if directory is None or not is_same_volume(directory, self._directory):
                self._found = 0
            else:
                self._found = sum(path.stat().st_size for path in directory.glob("duckdb_temp*"))
        except OSError:
            return  # one was deleted meanwhile


def _refusal() -> DiskFullError:
    return DiskFullError(
        "the volume of the database has little space left, and your statements spilled the most",
        hint="Narrow the statement (fewer columns, a WHERE, a LIMIT), or run it later. Operators: free "
        "space on the volume, or set DUCKDB_TEMP_DIRECTORY to another one.",
    )
