"""Counters and recent durations of ended statements, bounded in memory."""

from __future__ import annotations

import statistics
from collections import deque
from datetime import UTC, datetime
from typing import Any, Protocol

from chronoduck.monitoring.statements.windows import is_users_own

__all__ = ["EndedStatement", "QueryHistory"]

_KEPT_DURATIONS = 10_000
_RECENT = 10


class EndedStatement(Protocol):
    """What is needed of a statement that has ended; times in seconds, memory in MB."""

    @property
    def outcome(self) -> str: ...
    @property
    def error_code(self) -> str | None: ...
    @property
    def execution_time(self) -> float: ...
    @property
    def memory_mb(self) -> float: ...
    @property
    def ended_at(self) -> float: ...


class QueryHistory:
    """Counts since start; the median and the lists are of the last 10,000 successful statements."""

    def __init__(self) -> None:
        self.total = 0
        self.successful = 0
        self.user_errors = 0
        self.over_1s = 0
        self.over_5s = 0
        self._seconds = 0.0
        self._memory_mb = 0.0
        self._min: float | None = None
        self._max: float | None = None
        self._last_at: float | None = None
        self._durations: deque[float] = deque(maxlen=_KEPT_DURATIONS)

    def record(self, statement: EndedStatement) -> None:
        """Count a statement that has ended."""
        self.total += 1
        self._last_at = statement.ended_at
        seconds = statement.execution_time
        if statement.outcome in ("ok", "timeout"):  # a deadline ends what is slow
            self._max = seconds if self._max is None else max(self._max, seconds)
            self.over_1s += seconds > 1
            self.over_5s += seconds > 5
        if statement.outcome != "ok":
            self.user_errors += is_users_own(statement.outcome, statement.error_code)
            return
        self.successful += 1
        self._seconds += seconds
        self._memory_mb += statement.memory_mb
        self._durations.append(seconds)
        self._min = seconds if self._min is None else min(self._min, seconds)

    @property
    def success_rate(self) -> float:
        """Percent of statements that succeeded; 100 before the first one."""
        return round(100 * self.successful / self.total, 3) if self.total else 100.0

    @property
    def service_success_rate(self) -> float:
        """The same of those that did not fail by their users' own doing."""
        judged = self.total - self.user_errors
        return round(100 * self.successful / judged, 3) if judged else 100.0

    @property
    def avg_query_time(self) -> float:
        """Mean seconds of the successful statements."""
        return round(self._seconds / self.successful, 6) if self.successful else 0.0

    @property
    def avg_memory_mb(self) -> float:
        """Mean peak memory of the successful statements in MB."""
        return round(self._memory_mb / self.successful, 3) if self.successful else 0.0

    def recent_query_times(self) -> list[float]:
        """Return the last ten durations in seconds, oldest first."""
        return [round(seconds, 6) for seconds in list(self._durations)[-_RECENT:]]

    def metrics(self) -> dict[str, Any]:
        """Return the counters under the names that clients read."""
        last = self._last_at
        return {
            "total_queries": self.total,
            "successful_queries": self.successful,
            "failed_queries": self.total - self.successful,
            "success_rate": self.success_rate,
            "avg_query_time": self.avg_query_time,
            "last_query_time": None
            if last is None
            else datetime.fromtimestamp(last, UTC).isoformat(timespec="milliseconds"),
        }

    def performance(self) -> dict[str, Any]:
        """Return the ``performance`` part of the statistics."""
        return {
            "avg_query_time": self.avg_query_time,
            "avg_memory_per_query": self.avg_memory_mb,
            "recent_query_times": self.recent_query_times(),
            "success_rate": self.success_rate,
            "service_success_rate": self.service_success_rate,
            "user_errors": self.user_errors,
        }

    def analysis(self) -> dict[str, Any]:
        """Return the ``query_analysis`` part of the statistics; times in seconds."""
        return {
            "total_queries": self.total,
            "min_time": round(self._min or 0.0, 6),
            "max_time": round(self._max or 0.0, 6),
            "median_time": round(statistics.median(self._durations), 6) if self._durations else 0.0,
            "queries_over_1s": self.over_1s,
            "queries_over_5s": self.over_5s,
        }
