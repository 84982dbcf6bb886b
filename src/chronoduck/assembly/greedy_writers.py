"""Greedy writers: who may not write for now, because they fill the volume that others write to."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from chronoduck.assembly.greedy_spillers import GreedySpillers
from chronoduck.engine.checkpoints import Checkpointer
from chronoduck.engine.disk_guard import DiskFloorError, DiskGuard
from chronoduck.errors import DuckDBException
from chronoduck.logs import get_logger
from chronoduck.resilience.greed import Greed
from chronoduck.service.penalties import EXEMPT, party_of
from chronoduck.service.records import Caller, StatementRecord
from chronoduck.service.write_admission import frees_space
from chronoduck.settings import Settings
from chronoduck.units import format_bytes

if TYPE_CHECKING:
    from chronoduck.service.runner import StatementRunner

__all__ = ["GreedyWriters"]

_FREE_SECONDS, _FREE_LONGEST_SECONDS = 5.0, 300.0
"""The first and the longest wait between two checkpoints that give space back."""


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
        self._greed = Greed(settings.disk_floor, EXEMPT)
        self._log = get_logger("engine")

    def check(self, caller: Caller) -> None:
        """Refuse a write of somebody who has to leave the rest of the space to others.

        Raises:
            DiskFloorError: it has, or there is too little space for anybody.
        """
        self._guard.check_write()
        if party_of(caller) in self._greed.stopped:
            raise self._refusal()

    def observe(self, record: StatementRecord) -> None:
        """Count what a statement wrote, and note that one has freed something."""
        if record.is_read_only or not record.engine_seconds:
            return
        if not frees_space(record.kind, record.sql):
            self.note(record.caller, record.engine_seconds)
        elif record.outcome == "ok":
            self._has_freed |= self._guard.is_refusing or bool(self._greed.stopped)

    def note(self, caller: Caller, seconds: float) -> None:
        """Count seconds that somebody has written by now."""
        self._greed.note(party_of(caller), seconds)

    def watch(self, runner: StatementRunner) -> None:
        """Look, each time the guard does, whether one of the running writes has to stop."""
        self._guard.also_look = self._spillers.measure
        self._guard.on_look = lambda free: self._look(runner, free)

    def _look(self, runner: StatementRunner, free: int) -> None:
        now = time.monotonic()
        self._spillers.look(runner, free)
        writing = {
            party_of(running.caller)
            for running in runner.list_writing()
            if not frees_space(running.kind, running.sql)
        }
        stopped = self._greed.look(
            now,
            free,
            self._guard.file_bytes,
            writing,
            None if (file := self._guard.file) is None else file.free_bytes,
        )
        if self._has_freed and now >= self._free_again_at and self._freeing is None:
            self._has_freed = False
            self._freeing = asyncio.ensure_future(self._free(self._guard.room_bytes))
        self._guard.writers_stopped = len(self._greed.stopped)
        if stopped is not None:
            self._log.warning("writer_stopped", party=stopped, free_bytes=free)
            runner.interrupt_writes(
                lambda running: (
                    party_of(running.caller) == stopped
                    and not frees_space(running.kind, running.sql)
                ),
                self._refusal,
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

    def _refusal(self) -> DiskFloorError:
        return DiskFloorError(
            f"the volume of the database has {format_bytes(self._guard.free_bytes)} free, and you "
            "write the most: you may not write for now, so that others can. Reads, DELETE and DROP "
            "are run",
            hint="Delete or drop what is not needed, or write later. Operators: free space on the "
            "volume or enlarge it. Writes go on by themselves.",
        )
