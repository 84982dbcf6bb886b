"""A bounded pool of connections for the callers of one event loop, with a fair queue.

Every place of the pool is free, idle (an open, clean connection), or in use: leased to a caller, or
taken until a used connection is closed. Deciding who gets a place happens on the event loop and never
waits; opening and closing, which may take long, happen in threads and only report back. The lock
guards the one decision that both sides take part in: whether a lease was returned while its
connection was being opened.

A used connection is not cleaned but replaced: a fresh DuckDB cursor costs 0.1-0.6 ms and carries no
transaction, temporary table, prepared statement or setting of the user before.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Generic, TypeVar

from chronoduck.engine.lease import PooledConnection
from chronoduck.errors import PoolTimeoutError, ServiceUnavailableError
from chronoduck.logs import get_logger

__all__ = ["ConnectionPool", "PooledConnection"]

C = TypeVar("C")


class ConnectionPool(Generic[C]):
    """Hands out at most ``max_size`` connections, first come, first served.

    ``raw`` of a lease belongs into worker threads; everything else is called on the event loop.
    The counters are for reading; all but the present state only grow.
    """

    def __init__(
        self,
        connect: Callable[[], C],
        close: Callable[[C], None],
        *,
        max_size: int,
        executor: Executor,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``connect`` runs in the thread that first uses a lease, ``close`` on ``executor``."""
        self._connect = connect
        self._close = close
        self._executor = executor
        self._clock = clock
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop
        self._idle: list[C] = []
        self._waiters: deque[asyncio.Future[PooledConnection[C]]] = deque()
        self._drainers: list[asyncio.Future[None]] = []
        self._generation = 0
        self._is_closed = False
        self._log = get_logger("engine")

        self.max_connections = max_size
        self.in_use = 0
        """Places taken: leased ones, and those whose connection is being closed."""
        self.requests_total = 0
        """Callers that asked, but for those that a closed pool refused."""
        self.requests_queued = 0
        """Callers that had to wait."""
        self.requests_wait_seconds = 0.0
        """Time that all of them waited together, whatever came of it."""
        self.requests_timed_out = 0
        self.returns_tainted = 0
        self.connections_opened = 0
        self.connections_closed = 0

    @property
    def total_connections(self) -> int:
        """Connections that are open or leased; never more than ``max_connections``."""
        return len(self._idle) + self.in_use

    @property
    def available_connections(self) -> int:
        """Connections that can be had at once."""
        return self.max_connections - self.in_use

    @property
    def idle_connections(self) -> int:
        """Open connections that nobody uses."""
        return len(self._idle)

    @property
    def requests_waiting(self) -> int:
        """Callers in the queue now."""
        return len(self._waiters)

    def get_status(self) -> dict[str, int | float]:
        """Return the counters by their names; ``requests_wait_seconds`` is in seconds."""
        return {
            "total_connections": self.total_connections,
            "available_connections": self.available_connections,
            "max_connections": self.max_connections,
            "in_use": self.in_use,
            "requests_waiting": self.requests_waiting,
            "requests_total": self.requests_total,
            "requests_queued": self.requests_queued,
            "requests_wait_seconds": self.requests_wait_seconds,
            "requests_timed_out": self.requests_timed_out,
            "returns_tainted": self.returns_tainted,
            "connections_opened": self.connections_opened,
            "connections_closed": self.connections_closed,
        }

    async def get_connection(self, timeout: float | None = None) -> PooledConnection[C]:
        """Return a lease, at once if a place is free, else in turn within ``timeout`` seconds.

        Nothing is opened here. A caller cancelled while it waits leaves the queue; one cancelled
        after it was given a connection, before it woke up, passes it on to the next in the queue.

        Raises:
            PoolTimeoutError: no place came free in time.
            ServiceUnavailableError: the pool is closed, or was closed meanwhile.
        """
        if self._is_closed:
            raise _closed_error()
        self._loop = asyncio.get_running_loop()
        self.requests_total += 1
        # Whoever frees a place serves the queue at once: if one is free, nobody waits for it.
        if self.in_use < self.max_connections:
            return self._lease()
        return await self._wait(timeout)

    async def _wait(self, timeout: float | None) -> PooledConnection[C]:
        self.requests_queued += 1
        started = self._clock()
        waiter: asyncio.Future[PooledConnection[C]] = self._loop.create_future()
        self._waiters.append(waiter)
        # A timer that fails the waiter, rather than asyncio.timeout around it: a waiter is then
        # either served or timed out, decided in one place.
        timer = (
            None
            if timeout is None
            else self._loop.call_later(timeout, self._expire, waiter, timeout)
        )
        try:
            return await waiter
        except BaseException:  # also GeneratorExit, which leaves the waiter as it is
            self._withdraw(waiter)
            raise
        finally:
            self.requests_wait_seconds += self._clock() - started
            if timer is not None:
                timer.cancel()

    def _withdraw(self, waiter: asyncio.Future[PooledConnection[C]]) -> None:
        waiter.cancel()
        if waiter.cancelled():
            with contextlib.suppress(ValueError):  # skipped by _serve already
                self._waiters.remove(waiter)
        elif waiter.exception() is None:
            self.return_connection(waiter.result(), tainted=False)

    def _expire(self, waiter: asyncio.Future[PooledConnection[C]], timeout: float) -> None:
        if waiter.done():
            return
        self.requests_timed_out += 1
        waiter.set_exception(
            PoolTimeoutError(
                f"no connection free after {timeout:.2f} s ({self.in_use} of "
                f"{self.max_connections} in use, {self.requests_waiting} waiting)",
                hint="Retry later; GET queries shows what runs. An operator can raise "
                "DUCKDB_MAX_CONNECTIONS.",
            )
        )
        self._waiters.remove(waiter)

    @contextlib.asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncIterator[PooledConnection[C]]:
        """Lease a connection for a block; it is reused only if the block says ``mark_clean``.

        An exception or a cancellation in the block taints it. Raises what ``get_connection`` raises.
        """
        lease = await self.get_connection(timeout)
        try:
            yield lease
        except BaseException:
            lease.taint()
            raise
        finally:
            self.return_connection(lease, tainted=lease.is_tainted)

    def return_connection(
        self,
        lease: PooledConnection[C],
        *,
        tainted: bool = True,
        on_free: Callable[[], None] | None = None,
    ) -> None:
        """End a lease; never waits and never raises. Returning it again changes nothing.

        ``on_free`` is called on the event loop when its place is free again, which a slow rollback
        may delay: whoever counts places by owner counts until then.

        A tainted connection, or one from before ``invalidate``, is closed on the executor and keeps
        its place until that is done, since the bound holds for open connections. Closing may take
        long: DuckDB rolls back, and waits for a statement that a thread still runs (a cancelled
        caller leaves one behind). A thread that is just opening it gets an error instead. A lease
        of another pool (the service was initialised anew) goes back there.
        """
        if lease._pool is not self:
            lease._pool.return_connection(lease, tainted=tainted, on_free=on_free)
            return
        with self._lock:
            if lease._is_returned:
                return
            lease._is_returned = True
            lease._on_free = on_free
            is_opening = lease._is_opening
            raw, lease._raw = lease._raw, None
        if tainted:
            lease.taint()
        else:
            lease.mark_clean()
        self.returns_tainted += lease.is_tainted
        if is_opening:
            return  # the thread that opens it finds the lease returned and frees the place
        is_stale = lease._generation != self._generation
        if raw is not None and not (lease.is_tainted or is_stale or self._is_closed):
            self._idle.append(raw)
            raw = None
        self._discard(raw, lease._on_free)

    def retake(self) -> PooledConnection[C] | None:
        """Return a lease of the place that ``on_free`` tells of; call it there and nowhere else.

        Whoever replaces its connection keeps its place so. None: the pool was closed.
        """
        return None if self._is_closed else self._lease()

    def invalidate(self) -> None:
        """Give up every connection there is, since the instance behind them was lost.

        Idle ones are closed on the executor now, leased ones when they are returned.
        """
        self._generation += 1
        self._discard_idle()

    async def drain(self, timeout: float) -> bool:
        """Return whether, within ``timeout`` seconds, every lease was returned and closing ended.

        New callers are still served: refuse them first, or wait in vain.
        """
        if self.in_use == 0:
            return True
        drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._drainers.append(drained)
        try:
            await asyncio.wait([drained], timeout=timeout)
            return drained.done()
        finally:
            self._drainers.remove(drained)

    async def close(self, timeout: float) -> bool:
        """Refuse callers, waiting ones too, from now on; return whether all is closed in time.

        Waits ``timeout`` seconds for leases; later ones are still closed when they are returned.
        Closing again only waits again. A closed pool stays closed.
        """
        if not self._is_closed:
            self._is_closed = True
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_exception(_closed_error())
            self._waiters.clear()
            self._discard_idle()
        return await self.drain(timeout)

    def _lease(self) -> PooledConnection[C]:
        self.in_use += 1
        # The last one returned first: its memory is the warmest.
        return PooledConnection(self, self._generation, self._idle.pop() if self._idle else None)

    def _serve(self) -> None:
        """Give free places to waiters in their order, skipping those that were cancelled."""
        while self._waiters and self.in_use < self.max_connections:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(self._lease())

    def _finish_opening(self, lease: PooledConnection[C], raw: C | None) -> bool:
        """Return whether the lease still wants what its thread opened (``None``: it failed)."""
        with self._lock:
            lease._is_opening = False
            self.connections_opened += raw is not None
            if not lease._is_returned:
                lease._raw = raw
                return True
        try:
            self._loop.call_soon_threadsafe(self._discard, raw, lease._on_free)
        except RuntimeError:  # the loop is closed and counts no more
            if raw is not None:
                self._close(raw)
        return False

    def _discard_idle(self) -> None:
        idle, self._idle = self._idle, []
        self.in_use += len(idle)
        for raw in idle:
            self._discard(raw)

    def _discard(self, raw: C | None, on_free: Callable[[], None] | None = None) -> None:
        """Free a place in use, at once or when its connection ``raw`` is closed."""
        if raw is None:
            self._free_place(on_free)
            return
        try:
            closing = self._executor.submit(self._close, raw)
        except RuntimeError:
            # The executor was shut down before this lease came back: nobody else would close it.
            closing = Future()
            try:
                closing.set_result(self._close(raw))
            except Exception as error:  # noqa: BLE001 - as the executor does
                closing.set_exception(error)
        closing.add_done_callback(partial(self._report_closed, on_free))

    def _report_closed(self, on_free: Callable[[], None] | None, closing: Future[None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed and counts no more
            self._loop.call_soon_threadsafe(self._finish_closing, closing, on_free)

    def _finish_closing(
        self, closing: Future[None], on_free: Callable[[], None] | None = None
    ) -> None:
        # Cancelled: the executor was shut down; the connection goes with its instance.
        if not closing.cancelled() and (error := closing.exception()) is not None:
            self._log.warning("connection_close_failed", reason=str(error))
        self.connections_closed += 1
        self._free_place(on_free)

    def _free_place(self, on_free: Callable[[], None] | None) -> None:
        self.in_use -= 1
        if on_free is not None:
            on_free()
        self._serve()
        if self.in_use == 0:
            for drained in self._drainers:
                if not drained.done():
                    drained.set_result(None)


def _closed_error() -> ServiceUnavailableError:
    return ServiceUnavailableError("the connection pool is closed")
