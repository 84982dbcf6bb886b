"""Counting events of the last seconds."""

from __future__ import annotations

from collections import deque

__all__ = ["SlidingWindow"]


class SlidingWindow:
    """Remembers at most ``limit`` moments; older than ``seconds`` ones do not count."""

    def __init__(self, seconds: float, limit: int) -> None:
        self._seconds = seconds
        self._moments: deque[float] = deque(maxlen=limit)

    def add(self, now: float) -> None:
        """Count an event at ``now``; beyond the limit the oldest is forgotten."""
        self._moments.append(now)

    def count(self, now: float) -> int:
        """Return the events within the last ``seconds`` before ``now``."""
        while self._moments and self._moments[0] <= now - self._seconds:
            self._moments.popleft()
        return len(self._moments)

    def clear(self) -> None:
        """Forget all events."""
        self._moments.clear()
