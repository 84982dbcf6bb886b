"""Clocks for expiry and deletion, which the machine's clock alone must not decide."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["TICK_SECONDS", "CarefulClock", "ServiceTime"]

TICK_SECONDS = 60.0
"""How often the owner calls ``tick``."""
_LONGEST_STEP_SECONDS = 3 * TICK_SECONDS
"""A longer step is a machine that was asleep or a clock that leaped, and counts as this much."""


class ServiceTime:
    """The time during which a service ran, in microseconds that never go back and never leap.

    The machine's clock has no influence. Between two ticks at most three minutes count, so that a
    virtual machine that is paused for days ages nothing. Safe from any thread; one thread ticks.
    """

    def __init__(self, start_us: int = 0, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        # One value: a reader never sees half of a tick.
        self._mark = (start_us, steady())

    @property
    def now_us(self) -> int:
        """The time now."""
        counted, since = self._mark
        return counted + _step_us(self._steady() - since)

    @property
    def now_seconds(self) -> float:
        """The same in seconds."""
        return self.now_us / 1e6

    def tick(self) -> None:
        """Count what has passed since the last tick."""
        counted, since = self._mark
        now = self._steady()
        self._mark = (counted + _step_us(now - since), now)

    def advance(self, us: int) -> None:
        """Add time that an earlier process counted."""
        counted, since = self._mark
        self._mark = (counted + us, since)


def _step_us(seconds: float) -> int:
    return int(min(max(0.0, seconds), _LONGEST_STEP_SECONDS) * 1e6)


class CarefulClock:
    """The machine's clock for deletion by age: a jump ahead has no effect."""

    def __init__(
        self,
        clock: Callable[[], float] | None = None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock or (lambda: time.time())
        self._steady = steady
        self._began = self._clock() - steady()

    def now(self) -> float:
        """Return Unix time: the clock's, or what it would be without a jump ahead."""
        return min(self._clock(), self._began + self._steady())
