"""How much was used within the last seconds: what a limit over time is held against."""

from __future__ import annotations

from collections import deque

__all__ = ["SpendingWindow"]


class SpendingWindow:
    """Sums amounts over a moving window; what was spent counts for ``seconds`` and not longer.

    ``step_seconds`` above 0 bounds the memory: amounts within a step are kept as one, and count until
    the last of them is old. With 0 each counts for itself, exactly.
    """

    def __init__(self, seconds: float, step_seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._step_seconds = step_seconds
        self._entries: deque[list[float]] = deque()
        """Each is [first moment, last moment, amount]."""
        self._total = 0.0

    def spend(self, now: float, amount: float = 1.0) -> None:
        """Count an amount at ``now``, which never goes back."""
        self._forget_old(now)
        last = self._entries[-1] if self._entries else None
        if last is not None and now - last[0] < self._step_seconds:
            last[1] = now
            last[2] += amount
        else:
            self._entries.append([now, now, amount])
        self._total += amount

    def spent(self, now: float) -> float:
        """Return what was spent within the window that ends at ``now``."""
        self._forget_old(now)
        return self._total

    def seconds_until_below(self, now: float, limit: float) -> float:
        """Return how long from ``now`` on until less than ``limit`` is spent; 0 if it is so now."""
        total = self.spent(now)
        if total < limit:
            return 0.0
        for _, moment, amount in self._entries:
            total -= amount
            if total < limit:
                return moment + self.seconds - now
        return self.seconds

    def seconds_until_next(self, now: float) -> float:
        """Return how long from ``now`` on until some of it no longer counts; 0 if nothing does."""
        self._forget_old(now)
        return self._entries[0][1] + self.seconds - now if self._entries else 0.0

    def entries(self, now: float) -> list[list[float]]:
        """Return what counts now as [seconds ago, amount], oldest first."""
        self._forget_old(now)
        return [[now - moment, amount] for _, moment, amount in self._entries]

    def restore(self, now: float, entries: list[list[float]]) -> None:
        """Take in what was counted elsewhere, as ``entries`` returned it, before anything is spent here.

        Raises:
            ValueError, TypeError: it is not of that form.
        """
        found = [(now - max(0.0, float(ago)), float(amount)) for ago, amount in entries]
        for moment, amount in sorted(found):
            self._entries.append([moment, moment, amount])
            self._total += amount
        self._forget_old(now)

    def _forget_old(self, now: float) -> None:
        entries = self._entries
        while entries and entries[0][1] + self.seconds <= now:
            self._total -= entries.popleft()[2]
        if not entries:
            self._total = 0.0  # and with it what rounding left
