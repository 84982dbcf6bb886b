"""Whether the machine's clock can be trusted: restore points and backups are named by it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from chronoduck.monitoring.health import Finding, Status

__all__ = ["ClockProbe"]

_JUMP_SECONDS = 5.0
_DRIFT = 0.001
"""A clock that is being corrected runs at most 0.05 % too fast or too slow."""
_TOLD_SECONDS = 600.0


class ClockProbe:
    """Compares the clock with one that cannot be set, each time it is asked."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._steady = steady
        self._seen = clock(), steady()
        self._jump: tuple[float, float, float] | None = None
        """Seconds, and when by either clock."""

    def finding(self) -> Finding:
        """Return degraded for ten minutes after a jump."""
        now, steady = self._clock(), self._steady()
        before, steady_before = self._seen
        self._seen = now, steady
        passed = steady - steady_before
        jumped = now - before - passed
        if abs(jumped) > _JUMP_SECONDS + passed * _DRIFT:
            self._jump = jumped, now, steady
        if self._jump is None or steady - self._jump[2] > _TOLD_SECONDS:
            return Finding("clock", Status.HEALTHY)
        seconds, at, _ = self._jump
        moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
        return Finding(
            "clock",
            Status.DEGRADED,
            f"The machine's clock jumped by {seconds:+.0f} s, noticed at {moment}",
            "Check its synchronisation (timedatectl). Restore points and backups are named by this "
            "clock; nothing is lost by a jump.",
        )
