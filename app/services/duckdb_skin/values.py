"""Results and metrics in the shapes that the platform reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chronoduck.service.results import QueryResult as ServiceResult

__all__ = ["ConnectionMetrics", "QueryResult", "written_size"]

_UNITS = (("GB", 10**9), ("GiB", 2**30), ("MB", 10**6), ("MiB", 2**20), ("KB", 10**3))


@dataclass(frozen=True)
class QueryResult:
    """A statement's result.

    ``data`` is a list of tuples; one tuple or None for ``fetch_mode="one"``; None for ``"none"``, and
    ``row_count`` too. Times in seconds, memory in MB.
    """

    data: Any
    execution_time: float
    memory_usage: float
    row_count: int | None = None
    columns: list[str] | None = None
    query_hash: str | None = None
    types: list[str] | None = None
    truncated: bool = False

    @classmethod
    def of(cls, result: ServiceResult, fetch_mode: str = "all") -> QueryResult:
        """Return the service's result as the platform reads it."""
        data: Any = result.data
        row_count: int | None = result.row_count
        if fetch_mode == "one":
            data = result.data[0] if result.data else None
        elif fetch_mode == "none":
            data = row_count = None
        return cls(
            data,
            result.execution_time,
            result.memory_usage,
            row_count,
            result.columns,
            result.query_hash,
            result.types,
            result.truncated,
        )


@dataclass
class ConnectionMetrics:
    """Counters of the moment; durations in seconds, memory in MB."""

    total_connections: int = 0
    active_connections: int = 0
    total_queries: int = 0
    successful_queries: int = 0
    failed_queries: int = 0
    avg_query_time: float = 0.0
    memory_usage_mb: float = 0.0
    last_query_time: datetime | None = None
    created_at: datetime = field(default_factory=datetime.now)

    @classmethod
    def of(cls, metrics: Mapping[str, Any], created_at: datetime) -> ConnectionMetrics:
        """Return the ``metrics`` of the statistics as attributes."""
        last = metrics["last_query_time"]
        names = (
            *("total_connections", "active_connections", "total_queries", "successful_queries"),
            *("failed_queries", "avg_query_time", "memory_usage_mb"),
        )
        return cls(
            **{name: metrics[name] for name in names},
            last_query_time=None if last is None else datetime.fromisoformat(last),
            created_at=created_at,
        )

    def success_rate(self) -> float:
        """Return the percentage of statements that succeeded; 100 before the first one."""
        return 100 * self.successful_queries / self.total_queries if self.total_queries else 100.0


def written_size(size_bytes: int) -> str:
    """Return a size as people write it: ``4GB``, ``512MiB``."""
    for unit, factor in _UNITS:
        if size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)
