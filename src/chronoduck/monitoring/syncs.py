"""How syncs from PostgreSQL are, judged for health and counted for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from chronoduck.monitoring.health import Finding, Status

__all__ = ["sync_families", "sync_finding"]

_REPEATEDLY = 3
_GAUGES = {
    "running": ("is_running", "1 while a sync runs."),
    "lag_seconds": ("lag_seconds", "Age of the moment of the source that a target shows."),
    "lag_bytes": ("lag_bytes", "Log that PostgreSQL kept for a cdc sync at its last run."),
    "consecutive_failures": ("failures", "Runs that failed since the last success."),
    "last_duration_seconds": ("seconds", "How long the last successful run took."),
}
_COUNTERS = {
    "runs": ("runs", "Runs that have ended, well or not."),
    "failures": ("total_failures", "Runs that failed."),
    "rows": ("total_rows", "Rows that were added, changed or deleted."),
}


def sync_finding(syncs: Sequence[Mapping[str, Any]]) -> Finding:
    """Judge whether syncs fail again and again, or do not come to their end."""
    troubles = []
    for each in syncs:
        if each["failures"] >= _REPEATEDLY:
            troubles.append(f"{each['name']} failed {each['failures']} times ({each['error']})")
        elif each["is_overdue"]:
            troubles.append(f"{each['name']} missed two of its times")
        if each["is_orphan"]:
            troubles.append(f"{each['name']} has left a slot, for which PostgreSQL keeps its log")
    if not troubles:
        return Finding("sync", Status.HEALTHY)
    return Finding(
        "sync",
        Status.DEGRADED,
        f"Syncs from PostgreSQL: {'; '.join(troubles)}",
        "`chronoduck sync status` tells why and what to do.",
    )


def sync_families(syncs: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    """Yield one series per declared sync; without any there are none."""
    if not syncs:
        return
    for name, (field, text) in _GAUGES.items():
        gauge = GaugeMetricFamily(f"duckdb_sync_{name}", text, labels=["sync"])
        for each in syncs:
            if each[field] is not None:
                gauge.add_metric([each["name"]], float(each[field]))
        yield gauge
    for name, (field, text) in _COUNTERS.items():
        counter = CounterMetricFamily(f"duckdb_sync_{name}", text, labels=["sync"])
        for each in syncs:
            counter.add_metric([each["name"]], float(each[field]))
        yield counter
    last = GaugeMetricFamily(
        "duckdb_sync_last_success_timestamp_seconds", "When it last went well.", labels=["sync"]
    )
    for each in syncs:
        if each["last_success_at"]:
            last.add_metric(
                [each["name"]], datetime.fromisoformat(each["last_success_at"]).timestamp()
            )
    yield last
