"""A seat and a connection that stay with one borrower from one statement to the next."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from chronoduck.engine.database import Connection
from chronoduck.engine.pool import PooledConnection
from chronoduck.errors import DuckDBException, PoolTimeoutError
from chronoduck.service.engine_access import EngineAccess

__all__ = ["LentPlace"]


class LentPlace:
    """Stands for pool and admission towards the sessions of one borrower, one session at a time.

    The pool counts its connection as in use until ``give_up``. A connection in which a session left
    something is replaced: it keeps its place meanwhile, and nobody in the queue gets it. Use from the
    event loop.
    """

    def __init__(self, access: EngineAccess, party_id: str) -> None:
        self._access = access
        self._party_id = party_id
        self._lease: PooledConnection[Connection] | None = None
        self._is_used = False
        """Whether a session has the connection."""
        self._is_over = False
        self._ready = asyncio.Event()
        """Set while the connection is there and no session has it: a worker may be late to leave it."""

    async def take(self, seconds: float) -> None:
        """Wait for a seat and a connection, and open it.

        Raises:
            PoolTimeoutError, QueueFullError: none came free.
            ServiceUnavailableError: the service is shutting down.
        """
        ends = time.monotonic() + seconds
        admission = self._access.admission
        await admission.acquire(seconds, self._party_id)
        try:
            lease = await self._access.pool.get_connection(max(0.0, ends - time.monotonic()))
        except BaseException:
            admission.leave(self._party_id)
            raise
        finally:
            admission.release(self._party_id)
        self._keep(lease)
        await self._open(lease)

    async def _open(self, lease: PooledConnection[Connection]) -> None:
        """Open the connection now; if that fails, the first statement tries again and reports it."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(DuckDBException):
            await loop.run_in_executor(None, lambda: lease.raw)

    def _keep(self, lease: PooledConnection[Connection]) -> None:
        self._lease = lease
        self._ready.set()

    def give_up(self) -> None:
        """Give seat and connection back: now, or when the session that has it ends. Idempotent."""
        self._is_over = True
        if not self._is_used and self._lease is not None:
            self._return(tainted=False)

    def leave_engine(self) -> None:
        """Close the connection unless a session has it: its instance is to be closed."""
        lease = self._lease
        if lease is not None and not self._is_used and lease.opened is not None:
            self._return(tainted=True)

    def _return(self, *, tainted: bool) -> None:
        lease, self._lease = self._lease, None
        self._ready.clear()
        if lease is not None:
            self._access.pool.return_connection(lease, tainted=tainted, on_free=self._retake)

    def _retake(self) -> None:
        """Take the place again that has just become free, or let the next one have it."""
        lease = None if self._is_over else self._access.pool.retake()
        if lease is None:
            self._access.admission.leave(self._party_id)
        else:
            self._keep(lease)

    # --- what a session sees -------------------------------------------------------------------

    async def get_connection(self, timeout: float | None = None) -> PooledConnection[Connection]:
        """Return the borrower's connection, once nothing runs on it and it was replaced if it must be.

        Raises:
            PoolTimeoutError: that takes longer.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._ready.wait()
        except TimeoutError:
            raise PoolTimeoutError(
                f"the borrowed connection was not free within {timeout:.2f} s",
                hint="It still ends or rolls back what it ran before. Retry later.",
            ) from None
        assert self._lease is not None  # noqa: S101 - it is ready
        self._is_used = True
        self._ready.clear()
        return self._lease

    def return_connection(
        self,
        lease: PooledConnection[Connection],
        *,
        tainted: bool = True,
        on_free: Callable[[], None] | None = None,
    ) -> None:
        """Keep the connection for the borrower's next statement, or replace it."""
        self._is_used = False
        if tainted or self._is_over:
            self._return(tainted=tainted)
        else:
            self._ready.set()

    async def acquire(
        self,
        timeout: float | None = None,
        party_id: str = "",
        *,
        is_capped: bool = False,
        has_seat: bool = False,
    ) -> float:
        """Wait for a worker; the seat is there."""
        return await self._access.admission.acquire(
            timeout, party_id, is_capped=is_capped, has_seat=True
        )

    def release(self, party_id: str = "") -> None:
        """Give the worker back."""
        self._access.admission.release(party_id)

    def leave(self, party_id: str = "") -> None:
        """Do nothing: the borrower keeps its seat."""
