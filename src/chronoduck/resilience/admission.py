"""How many run, how many wait, and who is refused: a fair gate with a bounded queue."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable

from chronoduck.errors import DuckDBException, QueueFullError, StatementTimeoutError

__all__ = ["Admission"]

_MAX_RETRY_SECONDS = 30.0
_SMOOTHING = 0.1
"""Weight of the newest hold in the moving average."""


class Admission:
    """At most ``limit`` callers hold a place, at most ``queue_size`` wait for one, in their order.

    For one event loop. A caller cancelled while it waits leaves the queue; one cancelled after it
    was given its place, before it woke up, passes it on.
    """

    def __init__(
        self, limit: int, queue_size: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self.queue_size = queue_size
        self.running = 0
        self.total_admitted = 0
        self.total_refused = 0
        self.total_wait_seconds = 0.0
        self._clock = clock
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closing_error: DuckDBException | None = None
        self._released_at: float | None = None
        self._seconds_per_release = 0.0

    @property
    def waiting(self) -> int:
        """Callers in the queue now."""
        return len(self._waiters)

    async def acquire(self, timeout: float | None = None) -> float:
        """Take a place and return the seconds waited for it; does not suspend when one is free.

        Raises:
            QueueFullError: too many wait already; ``retry_after_seconds`` estimates when not.
            StatementTimeoutError: no place came free within ``timeout`` seconds.
            DuckDBException: the error that ``close`` was given.
        """
        if self._closing_error is not None:
            raise self._closing_error
        # Whoever releases a place serves the queue at once: if one is free, nobody waits for it.
        if self.running < self.limit:
            self.running += 1
            self.total_admitted += 1
            return 0.0
        if len(self._waiters) >= self.queue_size:
            self.total_refused += 1
            raise self._refusal()
        return await self._wait(timeout)

    async def _wait(self, timeout: float | None) -> float:
        started = self._clock()
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        timer = None if timeout is None else loop.call_later(timeout, self._expire, waiter, timeout)
        try:
            await waiter
        except BaseException:
            self._withdraw(waiter)
            raise
        finally:
            waited = self._clock() - started
            self.total_wait_seconds += waited
            if timer is not None:
                timer.cancel()
        self.total_admitted += 1
        return waited

    def _withdraw(self, waiter: asyncio.Future[None]) -> None:
        waiter.cancel()
        if waiter.cancelled():
            with contextlib.suppress(ValueError):  # skipped by release already
                self._waiters.remove(waiter)
        elif waiter.exception() is None:
            self.release()

    def _expire(self, waiter: asyncio.Future[None], timeout: float) -> None:
        if not waiter.done():
            self._waiters.remove(waiter)
            waiter.set_exception(
                StatementTimeoutError(
                    f"waited {timeout:.2f} s for a worker ({self.running} of {self.limit} busy, "
                    f"{self.waiting} waiting)",
                    hint="GET queries shows what runs; or raise timeout_seconds.",
                )
            )

    def release(self) -> None:
        """Give a place back; the first in the queue has it at once."""
        self._measure_pace()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.running -= 1

    def _measure_pace(self) -> None:
        now = self._clock()
        if self._released_at is not None and self._waiters:
            newest = now - self._released_at
            self._seconds_per_release += _SMOOTHING * (newest - self._seconds_per_release)
        self._released_at = now

    def _refusal(self) -> QueueFullError:
        error = QueueFullError(
            f"{self.running} statements run and {self.waiting} wait, which is all that may",
            hint="Retry after the seconds in Retry-After; an operator can raise DUCKDB_QUEUE_SIZE.",
        )
        estimate = self._seconds_per_release * self.waiting
        error.retry_after_seconds = float(min(_MAX_RETRY_SECONDS, max(1, math.ceil(estimate))))
        return error

    def close(self, error: DuckDBException) -> None:
        """Refuse every caller, the waiting ones too, with ``error``; places can still be released."""
        self._closing_error = error
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)
