"""Work at the times of a crontab."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from cronsim import CronSim

from chronoduck.errors import DuckDBException
from chronoduck.logs import get_logger

__all__ = ["Schedule"]


class Schedule:
    """Begins some work again and again, from ``start`` to ``stop``, on the event loop."""

    def __init__(self, crontab: str, begin: Callable[[], object]) -> None:
        """``crontab`` is in UTC; an empty one is never. ``begin`` must not wait for the work."""
        self._crontab = crontab
        self._begin = begin
        self._task: asyncio.Task[None] | None = None
        self._log = get_logger("schedule")
        self.next_at: datetime | None = None

    @property
    def interval_seconds(self) -> float | None:
        """Time between the next two of its times; None: never."""
        if not self._crontab:
            return None
        times = CronSim(self._crontab, datetime.now(UTC))
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

    async def _follow(self) -> None:
        for time in CronSim(self._crontab, datetime.now(UTC)):
            if time <= datetime.now(UTC):
                continue  # the machine slept, or the clock jumped: not once per missed time
            self.next_at = time
            # In pieces: a sleep does not notice that the clock was set.
            while (left := (time - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(min(left, 30.0))
            try:
                self._begin()
            except DuckDBException as error:
                self._log.warning("scheduled_work_skipped", reason=error.detail)
