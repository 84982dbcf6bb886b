"""Work at the times of a crontab."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from cronsim import CronSim

from chronoduck.errors import DuckDBException
from chronoduck.logs import get_logger

__all__ = ["Schedule"]


_LOOK_SECONDS = 30.0
"""A sleep does not notice that the clock was set."""


def _now() -> datetime:
    return datetime.now(UTC)


class Schedule:
    """Begins some work again and again, from ``start`` to ``stop``, on the event loop."""

    def __init__(
        self, crontab: str, begin: Callable[[], object], clock: Callable[[], datetime] = _now
    ) -> None:
        """``crontab`` is in UTC; an empty one is never. ``begin`` must not wait for the work."""
        self._crontab = crontab
        self._clock = clock
        self._begin = begin
        self._task: asyncio.Task[None] | None = None
        self._log = get_logger("schedule")
        self.next_at: datetime | None = None

    @property
    def interval_seconds(self) -> float | None:
        """Time between the next two of its times; None: never."""
        if not self._crontab:
            return None
        times = CronSim(self._crontab, self._clock())
        first = next(times)
        return (next(times) - first).total_seconds()

    def start(self) -> None:
        """Begin to follow the schedule."""
        if self._crontab:
            self._task = asyncio.get_running_loop().create_task(self._follow())

    async def stop(self) -> None:
        """End; work that was begun goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _next(self) -> datetime:
        return next(CronSim(self._crontab, self._clock()))

    async def _follow(self) -> None:
        while True:
            # From now on, not from the last time: the machine may have slept, or the clock been set
            # ahead and back, which must neither make up for missed times nor wait for a far one.
            self.next_at = self._next()
            while (left := (self.next_at - self._clock()).total_seconds()) > 0:
                await asyncio.sleep(min(left, _LOOK_SECONDS))
                self.next_at = min(self.next_at, self._next())  # it may have been set back
            try:
                self._begin()
            except DuckDBException as error:
                self._log.warning("scheduled_work_skipped", reason=error.detail)
