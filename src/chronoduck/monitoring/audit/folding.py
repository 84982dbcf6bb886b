"""Floods of failed authentications: told singly at first, then by their count."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chronoduck.monitoring.audit.event import time_text

__all__ = ["FailureFolding"]

_SINGLY = 20
"""Failures of one address within a minute that are told one by one."""
_WINDOW_SECONDS = 60.0
_ADDRESSES = 1_000
"""So many are told apart; the others are counted together."""
_OTHERS = "others"


@dataclass
class _Window:
    since: float
    count: int = 0


class FailureFolding:
    """Counts failures per address in windows of a minute; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[str | None, _Window] = {}

    def admits(self, address: str | None, now: float) -> bool:
        """Whether this failure is told singly; otherwise it is counted, and ``due`` tells it."""
        with self._lock:
            if address not in self._windows and len(self._windows) >= _ADDRESSES:
                address = _OTHERS
            window = self._windows.setdefault(address, _Window(now))
            window.count += 1
            return window.count <= _SINGLY

    def due(
        self, now: float, *, everything: bool = False
    ) -> Iterator[tuple[str | None, dict[str, Any]]]:
        """Yield address and facts of what was counted in windows that have ended."""
        with self._lock:
            ended = [
                address
                for address, window in self._windows.items()
                if everything or not 0 <= now - window.since < _WINDOW_SECONDS
            ]
            windows = [(address, self._windows.pop(address)) for address in ended]
        for address, window in windows:
            if window.count > _SINGLY:
                yield (
                    address,
                    {
                        "verdict": "refused",
                        "reason": "a flood, told by its count",
                        "count": window.count - _SINGLY,
                        "since": time_text(window.since),
                    },
                )
