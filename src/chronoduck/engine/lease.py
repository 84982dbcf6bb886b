"""One caller's right to use a pooled connection: what happens to it in worker threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from chronoduck.errors import DuckDBConnectionError

if TYPE_CHECKING:
    from chronoduck.engine.pool import ConnectionPool

__all__ = ["PooledConnection"]

C = TypeVar("C")


class PooledConnection(Generic[C]):
    """The right to use one connection, from ``get_connection`` to ``return_connection``.

    It counts as tainted, so that the next caller gets a fresh connection, until ``mark_clean`` says
    that nothing of this caller is left in it.
    """

    __slots__ = (
        "_generation",
        "_is_clean",
        "_is_opening",
        "_is_returned",
        "_is_spoiled",
        "_on_free",
        "_pool",
        "_raw",
    )

    def __init__(self, pool: ConnectionPool[C], generation: int, raw: C | None) -> None:
        self._pool = pool
        self._generation = generation
        self._raw = raw
        self._is_opening = False
        self._is_returned = False
        self._is_clean = False
        self._is_spoiled = False
        self._on_free: Callable[[], None] | None = None
        """Called once the place in the pool is free again; set as it is returned."""

    @property
    def raw(self) -> C:
        """The connection itself, opened at first use. May block: call it in a worker thread.

        Raises:
            DuckDBConnectionError: the lease was returned, even while the connection was opened.
            Exception: whatever opening raised; the lease stays valid, and the next use tries again.
        """
        raw = self._raw
        return self._open() if raw is None else raw

    @property
    def opened(self) -> C | None:
        """The connection if it is open already; never blocks."""
        return self._raw

    def _open(self) -> C:
        pool = self._pool
        with pool._lock:
            if self._is_returned:
                raise _returned_error()
            if self._is_opening:
                raise DuckDBConnectionError("another thread is opening this connection")
            self._is_opening = True
        try:
            raw = pool._connect()
        except BaseException:
            pool._finish_opening(self, None)
            raise
        if not pool._finish_opening(self, raw):
            raise _returned_error()
        return raw

    @property
    def is_tainted(self) -> bool:
        """Whether the connection will be closed when it is returned."""
        return self._is_spoiled or not self._is_clean

    def taint(self) -> None:
        """Have the connection closed when it is returned, whoever calls it clean later."""
        self._is_spoiled = True

    def mark_clean(self) -> None:
        """Say that the connection holds nothing of its user and may be reused as it is."""
        self._is_clean = True


def _returned_error() -> DuckDBConnectionError:
    return DuckDBConnectionError(
        "this connection was returned to the pool",
        hint="Take a new one with get_connection(), and keep it until the last use.",
    )
