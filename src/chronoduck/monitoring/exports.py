"""How declared exports are, judged for health and counted for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import Metric

from chronoduck.monitoring.declared_work import work_families, work_finding
from chronoduck.monitoring.health import Finding

__all__ = ["export_families", "export_finding"]

_COUNTERS = {
    "rows": ("total_rows", "Rows that were sent, and documents that were deleted."),
}


def export_finding(exports: Sequence[Mapping[str, Any]]) -> Finding:
    """Judge whether exports fail again and again, or do not come to their end."""
    return work_finding("export", "Exports", exports)


def export_families(exports: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    """Yield one series per declared export; without any there are none."""
    yield from work_families("export", exports, {}, _COUNTERS)
