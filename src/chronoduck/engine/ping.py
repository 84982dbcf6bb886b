"""Does the engine answer? Asked on a thread and connection of its own, so that it never queues."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import duckdb

from chronoduck.engine.database import Connection, DuckDBInstance
from chronoduck.errors import DuckDBException

__all__ = ["EnginePing", "PingResult"]

_PATIENCE_SECONDS = 0.04
"""How long an asker waits for an answer; then the last one counts, with its age."""
_FRESH_SECONDS = 1.0
"""A younger answer is given again instead of asking the engine."""


@dataclass(frozen=True)
class PingResult:
    """One answer of the engine, or why there was none."""

    success: bool
    execution_time: float
    """Seconds."""
    memory_mb: float
    """What the engine's buffers hold now."""
    at: float
    """``time.monotonic()`` of the answer."""


class EnginePing:
    """Asks the engine for its memory use; the answer is a by-product of a real query."""

    def __init__(self, instance: DuckDBInstance) -> None:
        self._instance = instance
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chronoduck-ping")
        self._thread.submit(lambda: None)  # now: when memory is short no thread can be started
        self._pending: Future[PingResult] | None = None
        self._asked_at = 0.0
        self._connection: Connection | None = None
        self._generation = -1
        self.last: PingResult | None = None

    async def ping(self) -> tuple[PingResult | None, float]:
        """Return the newest answer and for how many seconds an unanswered question is pending."""
        now = time.monotonic()
        if self.last is not None and self.last.success and now - self.last.at < _FRESH_SECONDS:
            return self.last, 0.0
        if self._pending is None or self._pending.done():
            self._asked_at = now
            self._pending = self._thread.submit(self._ask)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                self.last = await asyncio.shield(asyncio.wrap_future(self._pending))
        except TimeoutError:
            return self.last, time.monotonic() - self._asked_at
        return self.last, 0.0

    def _ask(self) -> PingResult:
        started = time.perf_counter()
        try:
            if self._connection is None or self._generation != self._instance.generation:
                self._generation = self._instance.generation
                self._connection = self._instance.cursor()
            # All rows: a result that is not read to its end keeps its transaction open, and with an
            # old transaction open DuckDB refuses to checkpoint what was changed since.
            rows = self._connection.execute(
                "SELECT sum(memory_usage_bytes) FROM duckdb_memory()"
            ).fetchall()
        except (duckdb.Error, DuckDBException):
            self._connection = None
            return PingResult(False, time.perf_counter() - started, 0.0, time.monotonic())
        used = int(rows[0][0] or 0) if rows else 0
        seconds = time.perf_counter() - started
        return PingResult(True, seconds, round(used / 1e6, 3), time.monotonic())

    def close(self) -> None:
        """Stop the thread without waiting for an engine that hangs."""
        self._thread.shutdown(wait=False, cancel_futures=True)
