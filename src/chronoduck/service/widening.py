"""A connection's way back from a scope to the pool."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

from chronoduck.engine.database import Connection
from chronoduck.engine.pool import PooledConnection
from chronoduck.engine.scopes.registry import NarrowedConnection
from chronoduck.engine.workers import Workers
from chronoduck.errors import DuckDBException
from chronoduck.service.engine_access import Connections

__all__ = ["return_widened"]


def return_widened(
    pool: Connections,
    workers: Workers,
    lease: PooledConnection[Connection],
    narrowed: NarrowedConnection,
    on_free: Callable[[], None] | None,
) -> None:
    """Give the connection back once it sees the whole database again; a worker does that.

    ``on_free``: see ``ConnectionPool.return_connection``.
    """
    loop = asyncio.get_running_loop()

    def widen() -> None:
        try:
            tainted = not narrowed.leave(lease.raw)
        except DuckDBException:  # the instance was lost meanwhile
            tainted = True
        with contextlib.suppress(RuntimeError):  # the loop is closed and counts no more
            loop.call_soon_threadsafe(
                partial(pool.return_connection, lease, tainted=tainted, on_free=on_free)
            )

    workers.submit(widen)
