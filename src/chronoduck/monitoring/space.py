"""Budgets of disk space in the health report and among the metrics; neither names anybody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from chronoduck.monitoring.health import Finding, Status
from chronoduck.units import format_bytes

__all__ = ["space_families", "space_finding"]

_FULL = 0.95
_REFUSING = {
    "results": ("results of jobs and exports", "DUCKDB_JOB_SPACE"),
    "spools": ("results that wait for their end", "DUCKDB_SPOOL_SPACE"),
    "uploads": ("uploads", "DUCKDB_UPLOAD_SPACE"),
}
"""Budgets at whose end requests are refused; the others give up what is old, or are the engine's."""


def space_finding(status: Mapping[str, Any]) -> Finding:
    """Return degraded when a budget has so little left that everybody's requests are refused."""
    full = [
        f"{what} take {format_bytes(used['used_bytes'])} of {format_bytes(used['limit_bytes'])} "
        f"({setting})"
        for name, (what, setting) in _REFUSING.items()
        if (used := status[name])["used_bytes"] >= _FULL * used["limit_bytes"]
    ]
    if not full:
        return Finding("space", Status.HEALTHY)
    return Finding(
        "space",
        Status.DEGRADED,
        "; ".join(full),
        "`chronoduck usage --json` tells whose they are; DELETE jobs/{id} removes a result.",
    )


def space_families(status: Mapping[str, Any], audit: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield what each budget has and may have, and what was refused for want of it."""
    used = GaugeMetricFamily(
        "duckdb_space_used_bytes", "Disk space that files of a kind take.", labels=["budget"]
    )
    limit = GaugeMetricFamily(
        "duckdb_space_limit_bytes",
        "What they may take together; 0: as much as the engine finds.",
        labels=["budget"],
    )
    refused = CounterMetricFamily(
        "duckdb_space_refused", "Claims that were refused.", labels=["budget"]
    )
    for name, each in status.items():
        used.add_metric([name], each["used_bytes"])
        limit.add_metric([name], each["limit_bytes"])
        refused.add_metric([name], each["refused"])
    yield from (used, limit, refused)
    yield GaugeMetricFamily(
        "duckdb_audit_principals_waiting",
        "Principals whose requests are refused because their lines fill their part of the trail.",
        value=audit["principals_waiting"],
    )
    yield CounterMetricFamily(
        "duckdb_audit_budget_refused", "Requests refused for that.", value=audit["budget_refused"]
    )
