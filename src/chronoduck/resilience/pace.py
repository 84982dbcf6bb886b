"""A pace for what strangers send: so much of each client and so much in total, the rest waits in turn.

Waiting costs nothing: who sends faster is answered later, and whoever sends little is not behind it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from enum import Enum, auto

__all__ = ["Pace", "Turn"]

_REMEMBERED = 4096
"""Clients beyond which those that want nothing are forgotten."""


class Turn(Enum):
    """What is decided of somebody who comes."""

    NOW = auto()
    LATER = auto()
    """It is called when its turn comes."""
    NEVER = auto()
    """Too many of its client wait already."""


class _Bucket:
    """Fills at a rate up to a limit. Times in seconds."""

    __slots__ = ("_at", "_level", "_limit", "_rate")

    def __init__(self, rate: float, limit: float, now: float) -> None:
        self._rate, self._limit = rate, limit
        self._level, self._at = limit, now

    def fill(self, now: float) -> float:
        self._level = min(self._limit, self._level + (now - self._at) * self._rate)
        self._at = now
        return self._level

    def is_full(self, now: float) -> bool:
        return self.fill(now) >= self._limit

    def take(self) -> None:
        self._level -= 1


class _Client:
    __slots__ = ("bucket", "waiting")

    def __init__(self, bucket: _Bucket) -> None:
        self.bucket = bucket
        self.waiting: deque[Callable[[], None]] = deque()


class Pace:
    """Rates are in calls a second; the calls of two seconds may come at once. For one thread."""

    def __init__(
        self, per_client: float, total: float, *, most_waiting: int = 100, now: float = 0.0
    ) -> None:
        """``most_waiting``: callers of one client that wait at the same time."""
        self._per_client = per_client
        self._total = _Bucket(total, 2 * total, now)
        self._most_waiting = most_waiting
        self._clients: dict[str, _Client] = {}
        self._in_turn: OrderedDict[str, _Client] = OrderedDict()
        """Clients of which somebody waits; the first is the next to be served."""

    @property
    def is_anybody_waiting(self) -> bool:
        """Whether ``serve`` has something to do, now or later."""
        return bool(self._in_turn)

    def enter(self, client_id: str, go: Callable[[], None], now: float) -> Turn:
        """Decide when the caller goes on; ``go`` is called by ``serve`` if that is later."""
        client = self._clients.get(client_id) or self._new(client_id, now)
        if not client.waiting and client.bucket.fill(now) >= 1 and self._total.fill(now) >= 1:
            client.bucket.take()
            self._total.take()
            return Turn.NOW
        if len(client.waiting) >= self._most_waiting:
            return Turn.NEVER
        client.waiting.append(go)
        self._in_turn.setdefault(client_id, client)
        return Turn.LATER

    def leave(self, client_id: str, go: Callable[[], None]) -> None:
        """Forget somebody who waits no more."""
        client = self._clients.get(client_id)
        if client is not None and go in client.waiting:
            client.waiting.remove(go)
            if not client.waiting:
                self._in_turn.pop(client_id, None)

    def serve(self, now: float) -> list[Callable[[], None]]:
        """Return whose turn it is: of each client in turn, as long as both rates allow it."""
        served = []
        while self._total.fill(now) >= 1:
            found = next(
                (pair for pair in self._in_turn.items() if pair[1].bucket.fill(now) >= 1), None
            )
            if found is None:
                break
            client_id, client = found
            served.append(client.waiting.popleft())
            client.bucket.take()
            self._total.take()
            if client.waiting:
                self._in_turn.move_to_end(client_id)
            else:
                del self._in_turn[client_id]
        return served

    def _new(self, client_id: str, now: float) -> _Client:
        if len(self._clients) >= _REMEMBERED:
            self._clients = {
                key: each
                for key, each in self._clients.items()
                if each.waiting or not each.bucket.is_full(now)
            }
        bucket = _Bucket(self._per_client, 2 * self._per_client, now)
        client = self._clients[client_id] = _Client(bucket)
        return client
