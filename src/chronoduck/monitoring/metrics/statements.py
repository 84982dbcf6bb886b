"""What is counted when a statement ends; under 10 µs each."""

from __future__ import annotations

from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram

__all__ = ["KINDS", "EndedStatement", "StatementMetrics"]

KINDS = frozenset(
    (
        *(
            "select",
            "explain",
            "insert",
            "update",
            "delete",
            "merge_into",
            "create",
            "alter",
            "drop",
        ),
        *("copy", "load", "batch", "transaction", "checkpoint", "vacuum", "invalid"),
    )
)
"""Kinds of statements that have a label of their own; what else DuckDB knows is ``other``."""

_SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)


class EndedStatement(Protocol):
    """What is needed of a statement that has ended; times in seconds."""

    @property
    def kind(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def execution_time(self) -> float: ...
    @property
    def queue_time(self) -> float: ...
    @property
    def rows(self) -> int: ...
    @property
    def bytes(self) -> int: ...


class _Series:
    """The children of one kind and outcome: looking them up by label costs more than counting."""

    def __init__(self, count: Counter, duration: Histogram) -> None:
        self.count = count
        self.duration = duration


class StatementMetrics:
    """Counters and histograms of statements in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(
            "duckdb_queries",
            "Statements that have ended, by kind and outcome.",
            ["kind", "outcome"],
            registry=registry,
        )
        self._duration = Histogram(
            "duckdb_query_duration_seconds",
            "From a statement's arrival to its last row, waiting included.",
            ["kind", "outcome"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._waiting = Histogram(
            "duckdb_queue_wait_seconds",
            "Time that statements waited for a worker.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._rows = Counter("duckdb_rows_returned", "Rows of all results.", registry=registry)
        self._bytes = Counter(
            "duckdb_result_bytes", "Bytes of all encoded results.", registry=registry
        )
        self._series: dict[tuple[str, str], _Series] = {}

    def record(self, statement: EndedStatement) -> None:
        """Count a statement that has ended."""
        kind = statement.kind if statement.kind in KINDS else "other"
        key = (kind, statement.outcome)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series(
                self._total.labels(*key), self._duration.labels(*key)
            )
        series.count.inc()
        series.duration.observe(statement.execution_time)
        self._waiting.observe(statement.queue_time)
        if statement.rows:
            self._rows.inc(statement.rows)
        if statement.bytes:
            self._bytes.inc(statement.bytes)
