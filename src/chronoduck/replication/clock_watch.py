"""Notices when the wall clock is set: by how much it moved against the time that passed."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["ClockWatch"]

_LEAST_STEP_US = 2_000_000
"""Less than this is a clock that is slewed, or a process that was not scheduled between two reads."""


class ClockWatch:
    """Reads the wall clock and remembers its steps. Use from one thread."""

    def __init__(self, now_us: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._now_us = now_us
        self._monotonic = monotonic
        self._offset_us: int | None = None
        self._step_us = 0

    def now_us(self) -> int:
        """Return what the wall clock says."""
        now_us = self._now_us()
        offset_us = now_us - int(self._monotonic() * 1e6)
        if self._offset_us is None:
            self._offset_us = offset_us
        step_us = offset_us - self._offset_us
        if abs(step_us) >= _LEAST_STEP_US:
            self._step_us += step_us
            self._offset_us = offset_us
        return now_us

    @property
    def step_us(self) -> int:
        """By how much the clock was set since ``take_step_us``; may be read from any thread."""
        return self._step_us

    def take_step_us(self) -> int:
        """Return by how much the clock was set since the last call."""
        step_us, self._step_us = self._step_us, 0
        return step_us
