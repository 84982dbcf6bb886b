"""Stops who fills the volume of the database, so that the others can go on writing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from chronoduck.engine.database import DuckDBInstance
from chronoduck.engine.disk_guard import DiskFloorError, DiskGuard, free_in_file
from chronoduck.errors import DuckDBException
from chronoduck.logs import get_logger
from chronoduck.resilience.greed import Greed
from chronoduck.service.penalties import EXEMPT, party_of
from chronoduck.service.records import Caller, StatementRecord
from chronoduck.service.write_admission import FREES_SPACE
from chronoduck.settings import Settings
from chronoduck.units import format_bytes

if TYPE_CHECKING:
    from chronoduck.service.runner import StatementRunner

__all__ = ["GreedyWriters"]

_FRESH_SECONDS = 0.25
"""A statement that began since the last look has not made the database grow."""
_FREE_EVERY_SECONDS = 5.0


class GreedyWriters:
    """Whether a caller may write, by the free space and by what it wrote. For one event loop."""

    def __init__(
        self,
        settings: Settings,
        guard: DiskGuard,
        instance: DuckDBInstance,
        checkpoint: Callable[[], Awaitable[float]],
    ) -> None:
        """``checkpoint`` runs one: what was deleted or dropped is free only then."""
        self._guard = guard
        self._instance = instance
        self._checkpoint = checkpoint
        self._asked: asyncio.Future[int] | None = None
        self._inside = 0
        self._has_freed = False
        self._freeing: asyncio.Future[None] | None = None
        self._free_again_at = 0.0
        self._greed = Greed(settings.disk_floor)
        self._files = [
            settings.database_path,
            settings.database_path.with_name(settings.database_path.name + ".wal"),
        ]
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
        if not record.is_read_only and record.engine_seconds:
            self._greed.note(time.monotonic(), party_of(record.caller), record.engine_seconds)
        if record.kind in FREES_SPACE and record.outcome == "ok":
            self._has_freed = self._guard.is_refusing or bool(self._greed.stopped)

    def watch(self, runner: StatementRunner) -> None:
        """Look, each time the guard does, whether one of the running writes has to stop."""
        self._guard.on_look = lambda free: self._look(runner, free)

    def _look(self, runner: StatementRunner, free: int) -> None:
        writing: dict[str, float] = {}
        for running in runner.list_writing():
            if running.age_seconds >= _FRESH_SECONDS:
                party = party_of(running.caller)
                writing[party] = writing.get(party, 0.0) + running.age_seconds
        stopped = self._greed.look(
            time.monotonic(), free, self._size(), writing, EXEMPT, self._free_inside()
        )
        if self._has_freed and time.monotonic() >= self._free_again_at:
            self._has_freed = False
            self._free_again_at = time.monotonic() + _FREE_EVERY_SECONDS
            self._freeing = asyncio.ensure_future(self._free())
        self._guard.writers_stopped = len(self._greed.stopped)
        if stopped is not None:
            self._log.warning("writer_stopped", party=stopped, free_bytes=free)
            runner.interrupt_writes(
                lambda running: party_of(running.caller) == stopped, self._refusal()
            )

    async def _free(self) -> None:
        try:
            await self._checkpoint()
        except DuckDBException as error:
            self._has_freed = True
            self._log.info("nothing_freed_yet", reason=error.operator_detail)

    def _free_inside(self) -> int:
        """Return what was free in the file a moment ago; asked only while somebody is stopped."""
        if not self._greed.stopped:
            self._inside = 0
            return 0
        if self._asked is not None and self._asked.done():
            self._inside = self._asked.result()
            self._asked = None
        if self._asked is None:
            self._asked = asyncio.ensure_future(asyncio.to_thread(free_in_file, self._instance))
        return self._inside

    def _size(self) -> int:
        size = 0
        for path in self._files:
            try:
                size += path.stat().st_size
            except OSError:
                continue
        return size

    def _refusal(self) -> DiskFloorError:
        return DiskFloorError(
            f"the volume of the database has {format_bytes(self._guard.free_bytes)} free, and you "
            "write the most: what is left is for the others. Reads, DELETE and DROP are run",
            hint="Delete or drop what is not needed, or write later. Operators: free space on the "
            "volume or enlarge it. Writes go on by themselves.",
        )
