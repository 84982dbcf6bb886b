"""Exponential back-off with a cap and jitter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Backoff"]


@dataclass(frozen=True)
class Backoff:
    """Waits of ``first``, twice that, four times, ... at most ``cap`` seconds, each varied a little.

    Jitter keeps services that failed together from coming back together.
    """

    first_seconds: float
    cap_seconds: float
    jitter_ratio: float
    random: Callable[[], float]
    """Returns a number from 0 up to 1."""

    def wait_seconds(self, attempt: int) -> float:
        """Return the wait before trial ``attempt``, counted from 0; never above the cap."""
        # 2**attempt overflows a float long after the cap is reached.
        plain = min(self.cap_seconds, self.first_seconds * 2.0 ** min(attempt, 64))
        spread = plain * self.jitter_ratio
        return min(self.cap_seconds, plain - spread + 2 * spread * self.random())
