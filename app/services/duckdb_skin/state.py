"""Breaker and pool as the platform reads them, from any thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chronoduck.engine.database import Connection
from chronoduck.engine.pool import ConnectionPool
from chronoduck.resilience.breaker import BreakerState, CircuitBreaker, CircuitBreakerConfig

from .event_loop import LoopDoor

__all__ = ["Breaker", "PoolView"]


class Breaker:
    """The service's circuit breaker, which belongs to the service's event loop."""

    def __init__(self, door: LoopDoor, breaker: CircuitBreaker) -> None:
        self._door = door
        self._breaker = breaker

    @property
    def name(self) -> str:
        """Its name in reports."""
        return self._breaker.name

    @property
    def state(self) -> BreakerState:
        """Closed, open or half-open."""
        return self._breaker.state

    @property
    def config(self) -> CircuitBreakerConfig:
        """When it opens and closes."""
        return self._breaker.config

    def get_status(self) -> dict[str, Any]:
        """Return state, counts, configuration and metrics."""
        return self._door.call(self._breaker.get_status)

    def force_open(self, reason: str = "opened by an operator") -> None:
        """Refuse calls now, as after repeated failures."""
        self._door.call(lambda: self._breaker.force_open(reason))

    def force_closed(self, reason: str = "closed by an operator") -> None:
        """Let calls pass now, and forget the failures."""
        self._door.call(lambda: self._breaker.force_closed(reason))

    def reset(self) -> None:
        """Close it and begin anew; the same as ``force_closed``."""
        self.force_closed()


class PoolView:
    """The pool's numbers under the names that the platform looks at."""

    def __init__(self, pool: ConnectionPool[Connection]) -> None:
        self._pool = pool

    @property
    def max_connections(self) -> int:
        """How many there are at most."""
        return self._pool.max_connections

    @property
    def _connection_count(self) -> int:
        return self._pool.total_connections

    @property
    def _available_connections(self) -> Sequence[int]:
        """As many elements as there are open connections that nobody uses."""
        return range(self._pool.idle_connections)
