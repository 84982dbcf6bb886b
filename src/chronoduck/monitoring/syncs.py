"""How syncs from PostgreSQL are, judged for health and counted for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import Metric

from chronoduck.monitoring.declared_work import work_families, work_finding
from chronoduck.monitoring.health import Finding

__all__ = ["sync_families", "sync_finding"]

_GAUGES = {
    "lag_seconds": ("lag_seconds", "Age of the moment of the source that a target shows."),
    "lag_bytes": ("lag_bytes", "Log that PostgreSQL kept for a cdc sync at its last run."),
}
_COUNTERS = {
    "rows": ("total_rows", "Rows that were added, changed or deleted."),
}


def sync_finding(syncs: Sequence[Mapping[str, Any]]) -> Finding:
    """Judge whether syncs fail again and again, or do not come to their end."""
    return work_finding(
        "sync",
        "Syncs from PostgreSQL",
        syncs,
        lambda each: "has left a slot, for which PostgreSQL keeps its log" * each["is_orphan"],
    )


def sync_families(syncs: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    """Yield one series per declared sync; without any there are none."""
    yield from work_families("sync", syncs, _GAUGES, _COUNTERS)
