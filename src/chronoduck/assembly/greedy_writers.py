"""Greedy writers: who may not write for now, because they fill the volume that others write to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from chronoduck.assembly.greedy_spillers import GreedySpillers, accountable
from chronoduck.engine.checkpoints import Checkpointer
from chronoduck.engine.disk_guard import DiskFloorError, DiskGuard
from chronoduck.errors import DuckDBException
from chronoduck.logs import get_logger
from chronoduck.principals import LOCAL
from chronoduck.resilience.greed import Greed
from chronoduck.service.penalties import EXEMPT
from chronoduck.service.records import Caller, RunningStatement, StatementRecord
from chronoduck.service.write_admission import frees_space
from chronoduck.settings import Settings
from chronoduck.units import format_bytes

if TYPE_CHECKING:
    from chronoduck.service.runner import StatementRunner

__all__ = ["GreedyWriters"]

_FREE_SECONDS, _FREE_LONGEST_SECONDS = 5.0, 300.0
"""The first and the longest wait between two checkpoints that give space back."""
_NEAR_FLOORS = 3.0
"""Below so many floors the files are measured at each begin and end of a write, not only at looks."""


class GreedyWriters:
    """Whether a caller may write, by the free space and by what it wrote. For one event loop."""

    def __init__(
        self,
        settings: Settings,
        guard: DiskGuard,
        checkpointer: Checkpointer,
        spillers: GreedySpillers,
    ) -> None:
        """``checkpointer``: what was deleted or dropped is free only after a checkpoint."""
        self._spillers = spillers
        self._guard = guard
        self._checkpointer = checkpointer
        self._has_freed = False
        self._freeing: asyncio.Future[None] | None = None
        self._free_again_at, self._free_wait = 0.0, _FREE_SECONDS
        self._greed = Greed(settings.disk_floor, EXEMPT, LOCAL.id)
        self._near_bytes = _NEAR_FLOORS * settings.disk_floor
        self._files = (
            settings.database_path,
            settings.database_path.with_name(settings.database_path.name + ".wal"),
        )
        self._runner: StatementRunner | None = None
        self._writing: dict[str, tuple[RunningStatement, float]] = {}
        """Writes that have not left the engine, with the seconds that they had been there."""
        self._checkpoints = 0
        self._loaded: set[str] = set()
        """Whose rows the service's own transactions have committed since the last look."""
        self._log = get_logger("engine")

    def check(self, caller: Caller) -> None:
        """Refuse a write of somebody who has to leave the rest of the space to others.

        Raises:
            DiskFloorError: it has, or there is too little space for anybody.
        """
        self._measure()
        self._guard.check_write()
        party = accountable(caller)
        self._greed.see(time.monotonic(), {party})
        if party in self._greed.stopped:
            raise self._refusal_of(party)()
        self._greed.begin(party)

    def observe(self, record: StatementRecord) -> None:
        """Count what a statement wrote, and note that one has freed something."""
        if record.is_read_only or not record.engine_seconds:
            return
        self._measure(accountable(record.caller))
        if record.outcome == "ok" and frees_space(record.kind, record.sql):
            self._has_freed |= self._guard.is_refusing or bool(self._greed.stopped)

    def note(self, caller: Caller) -> None:
        """Note that rows of somebody were committed by a transaction of the service's own."""
        self._loaded.add(accountable(caller))

    def watch(self, runner: StatementRunner) -> None:
        """Look, each time the guard does, whether one of the running writes has to stop."""
        self._runner = runner
        self._guard.also_look = self._spillers.measure
        self._guard.on_look = lambda free: self._look(runner, free)

    def _measure(self, *ended: str, is_look: bool = False) -> None:
        """Measure the files, and note who is at work."""
        runner = self._runner
        if runner is None or not self._near_bytes:
            return
        active: set[str] = set()
        between = set(ended)
        known, self._writing = self._writing, {}
        listed = {each.id: each for each in runner.list_writing()}
        left = {id_: each for id_, (each, _) in known.items() if each.is_in_engine}
        for id_, each in (left | listed).items():
            _, seconds = known.get(id_, (each, 0.0))
            self._writing[id_] = each, each.engine_seconds
            if each.is_in_engine:
                active.add(accountable(each.caller))
            elif each.engine_seconds != seconds:
                between.add(accountable(each.caller))
        checkpoints, self._checkpoints = self._checkpoints, self._checkpointer.count
        self._greed.measure(
            time.monotonic(),
            self._sizes() if is_look or self._guard.usable_bytes < self._near_bytes else None,
            active,
            between,
            is_checkpoint=bool(self._checkpointer.running)
            or checkpoints != self._checkpoints
            or any(
                each.kind == "checkpoint" and each.is_in_engine for each in runner.list_running()
            ),
        )

    def _sizes(self) -> int | None:
        total = 0
        for file in self._files:
            try:
                total += file.stat().st_size
            except FileNotFoundError:
                continue  # the WAL, after a checkpoint
            except OSError:
                return None
        return total

    def _look(self, runner: StatementRunner, free: int) -> None:
        now = time.monotonic()
        self._spillers.look(runner, free)
        self._measure(is_look=True)
        self._greed.see(
            now,
            {
                accountable(running.caller)
                for running in runner.list_writing()
                if running.is_in_engine and not frees_space(running.kind, running.sql)
            },
        )
        stopped = self._greed.look(
            now,
            free,
            self._guard.file_bytes,
            None if (file := self._guard.file) is None else file.free_bytes,
            self._loaded,
        )
        self._loaded = set()
        if self._has_freed and now >= self._free_again_at and self._freeing is None:
            self._has_freed = False
            self._freeing = asyncio.ensure_future(self._free(self._guard.room_bytes))
        self._guard.writers_stopped = len(self._greed.stopped)
        if stopped is not None:
            is_proven = stopped not in self._greed.held
            self._log.warning("writer_stopped", party=stopped, is_proven=is_proven, free_bytes=free)
            runner.interrupt_writes(
                lambda running: (
                    accountable(running.caller) == stopped
                    and not frees_space(running.kind, running.sql)
                ),
                self._refusal_of(stopped),
            )

    async def _free(self, room_before: int) -> None:
        try:
            await self._checkpointer.checkpoint()
        except DuckDBException as error:
            self._has_freed = True
            self._log.info("nothing_freed_yet", reason=error.operator_detail)
        finally:
            has_helped = self._guard.room_bytes > room_before
            self._free_wait = (
                _FREE_SECONDS if has_helped else min(2 * self._free_wait, _FREE_LONGEST_SECONDS)
            )
            self._free_again_at = time.monotonic() + self._free_wait
            self._freeing = None

    def _refusal_of(self, party: str) -> Callable[[], DiskFloorError]:
        """Return what makes its error: who was only held back is not accused."""
        why = (
            "it cannot be told yet who fills it. You began to write last: you may not write for now"
            if party in self._greed.held
            else "you write the most: you may not write for now"
        )
        return lambda: DiskFloorError(
            f"the volume of the database has {format_bytes(self._guard.free_bytes)} free, and {why}, "
            "so that others can. Reads, DELETE and DROP are run",
            hint="Delete or drop what is not needed, or write later. Operators: free space on the "
            "volume or enlarge it. Writes go on by themselves.",
        )
