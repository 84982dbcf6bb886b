"""The supervisor's own log lines: it never waits for whoever reads them.

A pipe that nobody reads is full after 64 KB, and a write to it then blocks for ever: no server would be
started again. So a thread writes, a bounded number of lines waits, and the others are counted.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
from collections import deque
from datetime import UTC, datetime
from typing import Any

__all__ = ["LogLines"]

_MOST_WAITING = 1_000
_END_SECONDS = 1.0


class LogLines:
    """Writes lines in the form of the service's log, which the supervisor must not import."""

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = descriptor
        wish = os.environ.get("DUCKDB_LOG_FORMAT", "").lower() or "auto"
        self._is_read_by_people = wish == "console" or (wish == "auto" and os.isatty(descriptor))
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._change = threading.Condition()
        self._writer: threading.Thread | None = None

    def write(self, level: str, event: str, **fields: Any) -> None:
        """Have a line written; returns at once."""
        line = self._encode(level, event, fields)
        with self._change:
            if len(self._waiting) >= _MOST_WAITING:
                self._lost += 1
                return
            if self._lost:
                self._waiting.append(
                    self._encode("warning", "log_lines_lost", {"lines": self._lost})
                )
                self._lost = 0
            self._waiting.append(line)
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="log", daemon=True)
                self._writer.start()
                atexit.register(self.flush)
            self._change.notify_all()

    def _encode(self, level: str, event: str, fields: dict[str, Any]) -> bytes:
        return _encode(level, event, fields, is_read_by_people=self._is_read_by_people)

    def flush(self, seconds: float = _END_SECONDS) -> None:
        """Wait until all is written, or so long."""
        with self._change:
            self._change.wait_for(lambda: not self._waiting, seconds)

    def _write(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting)
                line = self._waiting[0]
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:
                pass  # nobody is there any more
            with self._change:
                self._waiting.popleft()
                self._change.notify_all()


def _encode(level: str, event: str, fields: dict[str, Any], *, is_read_by_people: bool) -> bytes:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    if is_read_by_people:
        rest = " ".join(f"{key}={value}" for key, value in fields.items() if value is not None)
        return f"{now} {level.upper():8} {event} {rest}\n".encode()
    return json.dumps({"timestamp": now, "level": level, "event": event, **fields}).encode() + b"\n"
