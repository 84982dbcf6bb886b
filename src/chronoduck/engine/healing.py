"""Reopening the instance in the same process after a fatal error, while callers wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import duckdb

from chronoduck.engine.database import Connection, DuckDBInstance, InstanceHeldError
from chronoduck.engine.pool import ConnectionPool
from chronoduck.errors import DatabaseFailedError, DuckDBException
from chronoduck.logs import get_logger

__all__ = ["HealReason", "HealRecord", "Healer"]

_DRAIN_SECONDS = 3.0
"""How long running statements may notice that their instance is gone before it is closed."""
_LOOK_SECONDS = 0.02
_RETRY_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Waits between attempts to open the file; the last one repeats until it opens."""
_OTHER_FAILURES = (OSError, MemoryError, RuntimeError, ValueError, duckdb.Error)
"""What may go wrong with the files beside what the instance has translated."""
_HOPELESS_SECONDS = 30.0
"""After so long this process is not the one that opens it. A full volume may take that long."""


class HealReason(StrEnum):
    """Why an instance is reopened. Health shows it to everybody: the engine's message is in the log."""

    FATAL = "a fatal error stopped the database engine"
    INTERNAL = "one statement stopped the database engine"
    FILE_GROWN = "a failed write has left the file grown"
    FILES_CHANGED = "the database's files were changed"


@dataclass(frozen=True)
class HealRecord:
    """One repair: when it ended, why it was needed and how long callers waited."""

    at: str
    reason: HealReason
    seconds: float
    attempts: int


class Healer:
    """Closes and reopens the instance once per failure, however many statements report it.

    Lives on the event loop; ``wait_until_open`` is what every statement passes before it asks for a
    connection.
    """

    def __init__(
        self,
        instance: DuckDBInstance,
        pool: ConnectionPool[Connection],
        executor: Executor,
        leave_engine: Callable[[], None],
        on_stuck: Callable[[str], None],
    ) -> None:
        self._instance = instance
        self._pool = pool
        self._executor = executor
        self._leave_engine = leave_engine
        self._on_stuck = on_stuck
        self._open = asyncio.Event()
        self._open.set()
        self._task: asyncio.Task[None] | None = None
        self._log = get_logger("engine")
        self.count = 0
        self.failure = ""
        """The error code of the last attempt to open it, while it is not open."""
        self.on_failure: Callable[[], None] = lambda: None
        """Is called after each such attempt; a full volume may be why."""
        self.last_heal: HealRecord | None = None

    @property
    def is_healing(self) -> bool:
        """Whether the instance is being reopened right now."""
        return not self._open.is_set()

    async def wait_until_open(self, timeout: float) -> bool:
        """Return whether the instance is (or became) open within ``timeout`` seconds."""
        if self._open.is_set():
            return True
        try:
            async with asyncio.timeout(timeout):
                await self._open.wait()
        except TimeoutError:
            return False
        return True

    def start(self, generation: int, reason: HealReason, detail: str = "") -> None:
        """Begin to heal, unless that opening of the instance was replaced already, or still answers.

        ``detail``: what the engine says, for the log.
        """
        if self.is_healing or generation != self._instance.generation:
            return
        self._open.clear()
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._heal_if_lost(reason, detail))

    def reopen(self, generation: int, reason: HealReason) -> None:
        """Close and open that opening of the instance, although it answers."""
        if self.is_healing or generation != self._instance.generation:
            return
        self._open.clear()
        self._task = asyncio.get_running_loop().create_task(self._heal(reason))

    async def _heal_if_lost(self, reason: HealReason, detail: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            is_valid = await loop.run_in_executor(self._executor, self._instance.is_valid)
        except _OTHER_FAILURES as error:  # a thread that cannot be started, for one
            self._log.exception("instance_not_asked", reason=str(error)[:500])
            is_valid = False
        if is_valid:
            self._log.warning("instance_not_lost", reason=reason, detail=detail[:500])
            self._open.set()
        else:
            await self._heal(reason, detail=detail)

    async def replace(self, change: Callable[[], None], grace_seconds: float) -> str:
        """Close the instance, change its files, and open it again, while callers wait.

        Statements that run may end within the grace period. Returns what went wrong with the change;
        the instance is open again in every case.
        """
        failures: list[str] = []

        def between() -> None:
            try:
                change()
            except OSError as error:
                failures.append(str(error))

        await self._open.wait()
        self._open.clear()
        end = time.monotonic() + grace_seconds
        while self._pool.in_use and time.monotonic() < end:  # noqa: ASYNC110 - many ways lead there
            await asyncio.sleep(_LOOK_SECONDS)
        self._task = asyncio.get_running_loop().create_task(
            self._heal(HealReason.FILES_CHANGED, between)
        )
        await asyncio.shield(self._task)
        return "; ".join(failures)

    async def _heal(
        self, reason: HealReason, between: Callable[[], None] = lambda: None, *, detail: str = ""
    ) -> None:
        started = time.monotonic()
        self._log.error("instance_failed", reason=reason, detail=detail)
        self._pool.invalidate()
        self._leave_engine()
        await self._pool.drain(_DRAIN_SECONDS)
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            attempt += 1
            try:
                await loop.run_in_executor(self._executor, self._instance.reopen, between)
                break
            except DuckDBException as error:
                self._log.error("reopen_failed", attempt=attempt, reason=error.operator_detail)
                self.failure = error.code  # health is public; the log has the engine's message
                self._look_for_way_out(error, time.monotonic() - started)
            except _OTHER_FAILURES as error:
                # A full volume, above all. Ended by it, this task would keep everybody waiting for ever.
                self._log.exception("reopen_failed", attempt=attempt, reason=str(error)[:500])
                self.failure = "database_unavailable"
                if time.monotonic() - started > _HOPELESS_SECONDS:
                    self._on_stuck("the database cannot be opened again")
            self.on_failure()
            await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS)) - 1])
        seconds = time.monotonic() - started
        self.failure = ""
        self.count += 1
        self.last_heal = HealRecord(
            datetime.now(UTC).isoformat(timespec="milliseconds"), reason, round(seconds, 3), attempt
        )
        self._log.warning("instance_healed", seconds=round(seconds, 3), attempts=attempt)
        self._open.set()

    def _look_for_way_out(self, error: DuckDBException, seconds: float) -> None:
        """Ask for another process where this one will not open the file again.

        Its start tries every way that loses nothing, and refuses with what can be done.
        """
        if isinstance(error, InstanceHeldError):
            if seconds > self._instance.settings.stuck_seconds:
                self._on_stuck("the failed database is held by a statement and cannot be closed")
        elif isinstance(error, DatabaseFailedError) and seconds > _HOPELESS_SECONDS:
            self._on_stuck(f"the database cannot be opened again ({error.code})")

    async def stop(self) -> None:
        """Give up healing, for a shutdown."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def get_status(self) -> dict[str, Any]:
        """Return ``is_healing``, ``failure``, ``count`` and ``last_heal``, for health."""
        return {
            "is_healing": self.is_healing,
            "failure": self.failure,
            "count": self.count,
            "last_heal": None if self.last_heal is None else asdict(self.last_heal),
        }
