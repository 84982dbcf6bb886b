"""How much CPU the shadow may use by itself: a share of one core, start-up and copying included."""

from __future__ import annotations

from collections import deque

__all__ = ["Budget"]

_WINDOW_SECONDS = 600.0
_SAMPLE_SECONDS = 5.0
_CREDIT_SECONDS = 0.5
"""CPU time that may be saved up: a first commit after a quiet hour is judged at once."""


class Budget:
    """Counts CPU time as debt that time pays off at the share's rate; times are passed in.

    What the service asks for runs in any case and makes debt, too, so that the shadow's own work
    waits for it. Over 10 minutes the mean stays at the share, but for what was asked for.
    """

    def __init__(self, share: float, now: float, cpu: float) -> None:
        """``cpu``: seconds used since the process began."""
        self._share = share
        self._last = now
        self._cpu = cpu
        self._began = now - cpu
        self._debt = cpu
        self._samples: deque[tuple[float, float]] = deque([(self._began, 0.0)])

    def note(self, now: float, cpu: float) -> None:
        """Take in the CPU seconds used so far, children included."""
        paid = self._share * (now - self._last)
        self._debt = max(-_CREDIT_SECONDS, self._debt - paid) + (cpu - self._cpu)
        self._last, self._cpu = now, cpu
        if now - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._samples.append((now, cpu))
        while len(self._samples) > 1 and self._samples[1][0] <= now - _WINDOW_SECONDS:
            self._samples.popleft()

    def seconds_until_free(self, overdraft: float = 0.0) -> float:
        """Return how long the shadow's own work has to wait; 0 when it may run."""
        return max(0.0, self._debt - overdraft) / self._share

    @property
    def used_share(self) -> float:
        """The share of one core used in the last 10 minutes."""
        began, cpu = self._samples[0]
        elapsed = self._last - began
        return (self._cpu - cpu) / elapsed if elapsed > 0 else 0.0
