"""The way of ended statements from the event loop to a thread that has time for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

from chronoduck.logs import get_logger

__all__ = ["StatementFeed"]

T = TypeVar("T")
S = TypeVar("S")
_FULL_BATCH = 5_000
"""A transaction of the log costs 3 ms and 2 µs a statement: rather few large ones."""


class StatementFeed(Generic[T, S]):
    """Hands statements over in batches, once in ``interval`` seconds or five thousand at once.

    One batch is worked on at a time. When that takes too long, statements wait; when ``room`` of them
    wait, more are dropped and counted: no statement ever waits for its log. For one event loop.
    """

    def __init__(
        self,
        consume: Callable[[list[T], S], None],
        take_along: Callable[[], S],
        *,
        interval: float,
        room: int,
    ) -> None:
        """``consume`` is called in a thread, with what ``take_along`` returns on the event loop."""
        self._consume = consume
        self._take_along = take_along
        self._interval = interval
        self._room = room
        self._waiting: list[T] = []
        self._timer: asyncio.TimerHandle | None = None
        self._working: asyncio.Future[None] | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._log = get_logger("query_log")
        self._is_dropping = False
        self._taken = 0
        self._worked_on = 0
        self.dropped = 0
        """Statements that found no room."""

    @property
    def waiting(self) -> int:
        """Statements that wait to be handed over."""
        return len(self._waiting)

    def start(self, executor: ThreadPoolExecutor) -> None:
        """Hand statements to a thread of the executor from now on."""
        self._executor = executor
        self._schedule()

    def put(self, statement: T) -> None:
        """Take a statement in, or drop it. Under a microsecond."""
        waiting = self._waiting
        if len(waiting) >= self._room:
            self._drop()
            return
        waiting.append(statement)
        self._taken += 1
        if self._timer is None or len(waiting) == _FULL_BATCH:
            self._schedule()

    def _drop(self) -> None:
        self.dropped += 1
        if not self._is_dropping:
            self._is_dropping = True
            self._log.warning("query_log_dropping", waiting=len(self._waiting))

    def _schedule(self) -> None:
        if self._executor is None or self._working is not None or not self._waiting:
            return
        if len(self._waiting) >= _FULL_BATCH:
            self._begin()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._interval, self._begin)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._working is not None or self._executor is None or not self._waiting:
            return
        batch, self._waiting = self._waiting, []
        self._is_dropping = False
        loop = asyncio.get_running_loop()
        self._working = loop.run_in_executor(
            self._executor, self._consume, batch, self._take_along()
        )
        self._working.add_done_callback(partial(self._end, len(batch)))

    def _end(self, count: int, work: asyncio.Future[None]) -> None:
        self._working = None
        self._worked_on += count
        if not work.cancelled() and (error := work.exception()) is not None:
            self.dropped += count
            self._log.error("query_log_failed", error=repr(error))
        self._schedule()

    async def flush(self) -> None:
        """Return when every statement that was taken in before has been worked on."""
        wanted = self._taken
        while self._executor is not None and self._worked_on < wanted:
            if self._working is None:
                self._begin()
            else:
                await asyncio.wait([self._working])

    async def stop(self) -> None:
        """Work on what waits, and take no more threads; what comes later waits for ``start``."""
        await self.flush()
        self._executor = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
