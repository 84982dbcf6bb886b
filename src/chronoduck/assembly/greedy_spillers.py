"""Greedy spillers: whose statements end, because their spill files fill the volume of the database.

DuckDB does not tell which statement a spill file belongs to. So each look shares by evidence what the
files grew by, and forgets the parties that run nothing: their files are gone. If that does not tell
whose the files are, one statement ends instead, the newest one that may hold its part of them: what
had begun before the files grew goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from chronoduck.engine.spill_bound import SPILL_FLOORS, is_same_volume
from chronoduck.errors import DiskFullError
from chronoduck.logs import get_logger
from chronoduck.resilience.evidence import Evidence
from chronoduck.service.penalties import EXEMPT, party_of
from chronoduck.service.records import Caller, RunningStatement
from chronoduck.settings import Settings

if TYPE_CHECKING:
    from chronoduck.service.runner import StatementRunner

__all__ = ["Ending", "GreedySpillers", "Running", "accountable"]

_LEAST_BYTES = 8_000_000
"""Ending statements for less than that would not help."""
_HALF_LIFE_SECONDS = 60.0
_REMEMBERED_SECONDS = 600.0
"""For how long who was proven to spill the most comes first when nothing can be told."""


class Running(NamedTuple):
    """A statement that has begun."""

    id: str
    party: str


class Ending(NamedTuple):
    """Which statements have to end, of which party, and whether it surely spilled the most."""

    ids: frozenset[str]
    party: str
    is_proven: bool


def accountable(caller: Caller) -> str:
    """Return the party that answers for it; sub-users of who is exempt are exempt, too."""
    principal = caller.principal.id
    return principal if principal in EXEMPT else party_of(caller)


class GreedySpillers:
    """Looks at the engine's spill files as often as the disk guard looks. For one event loop."""

    def __init__(self, settings: Settings, find_directory: Callable[[], Path | None]) -> None:
        """``find_directory`` returns the one of spill files, while the database is open."""
        self._directory = settings.database_path.parent
        self._kept_bytes = SPILL_FLOORS * settings.disk_floor
        self._find_directory = find_directory
        self._evidence = Evidence(_HALF_LIFE_SECONDS)
        self._before: frozenset[str] = frozenset()
        """Parties that ran something at the last look."""
        self._at_begin: dict[str, int] = {}
        """Bytes of spill files that are older than a statement, by its id."""
        self._proven_at: dict[str, float] = {}
        self._found = self._spilled = 0
        """Bytes of the spill files: as measured last, and when they were weighed before."""
        self._log = get_logger("engine")

    def look(self, runner: StatementRunner, free_bytes: int) -> None:
        """End the statements of the party that spilled the most, if too little stays free."""
        running = [
            Running(each.id, accountable(each.caller))
            for each in runner.list_running()
            if each.state != "waiting"
        ]
        ending = self.weigh(running, free_bytes, time.monotonic())
        if ending is None:
            return
        self._log.warning(
            "spiller_stopped",
            party=ending.party,
            is_proven=ending.is_proven,
            statements=len(ending.ids),
            free_bytes=free_bytes,
        )

        def is_meant(statement: RunningStatement) -> bool:
            return statement.id in ending.ids

        runner.interrupt_running(is_meant, _refusal if ending.is_proven else _sacrifice)

    def weigh(self, running: Sequence[Running], free_bytes: int, now: float) -> Ending | None:
        """Note what was spilled since the last look; return which statements have to end.

        ``running``: all that have begun, oldest first.
        """
        spilled = self._found
        before, self._spilled = self._spilled, spilled
        parties = frozenset(each.party for each in running)
        self._evidence.add(now, spilled - before, parties | self._before)
        self._evidence.keep(parties)
        self._before = parties
        self._at_begin = {
            each.id: min(spilled, self._at_begin.get(each.id, before)) for each in running
        }
        if free_bytes >= self._kept_bytes or spilled < _LEAST_BYTES or spilled <= before:
            return None
        # An exempt party only answers for what it spills while nobody else runs anything.
        party = self._evidence.proven(parties - EXEMPT or parties)
        if party is not None:
            self._proven_at[party] = now
            return Ending(_ids(running, {party}), party, is_proven=True)
        return self._newest(running, now)

    def _newest(self, running: Sequence[Running], now: float) -> Ending | None:
        """Return the newest statement that may hold its part: one at least does hold that much."""
        self._proven_at = {
            party: at for party, at in self._proven_at.items() if now - at < _REMEMBERED_SECONDS
        }
        able = [
            each
            for each in running
            if each.party not in EXEMPT
            and (self._spilled - self._at_begin[each.id]) * len(running) >= self._spilled
        ]
        able = [each for each in able if each.party in self._proven_at] or able
        return Ending(frozenset({able[-1].id}), able[-1].party, is_proven=False) if able else None

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


def _ids(running: Sequence[Running], parties: Collection[str]) -> frozenset[str]:
    return frozenset(each.id for each in running if each.party in parties)


_HINT = (
    "Narrow the statement (fewer columns, a WHERE, a LIMIT), or run it later. Operators: free "
    "space on the volume, or set DUCKDB_TEMP_DIRECTORY to another one."
)


def _refusal() -> DiskFullError:
    return DiskFullError(
        "the volume of the database has little space left, and your statements spilled the most",
        hint=_HINT,
    )


def _sacrifice() -> DiskFullError:
    return DiskFullError(
        "the volume of the database has little space left, and it cannot be told whose statements "
        "spill the most: this one was the newest of those that may",
        hint=_HINT,
    )
