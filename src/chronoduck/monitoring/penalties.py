"""The penalty box in the health report and among the metrics; neither names anybody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from chronoduck.monitoring.health import Finding, Status
from chronoduck.units import format_count

__all__ = ["penalty_families", "penalty_finding"]


def penalty_finding(status: Mapping[str, Any]) -> Finding:
    """Return healthy in every case: that one waits protects the others."""
    waiting = status["principals_waiting"], status["statements_waiting"]
    if not any(waiting):
        return Finding("penalties", Status.HEALTHY)
    return Finding(
        "penalties",
        Status.HEALTHY,
        f"{format_count(waiting[0], 'principal')} and {format_count(waiting[1], 'statement')} wait "
        "because of what they broke",
        "`chronoduck penalties list` names them; see `chronoduck runbook penalty-box`.",
    )


def penalty_families(status: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield who waits, and what statements broke since the start."""
    family = GaugeMetricFamily(
        "duckdb_penalty_waiting",
        "Principals, and single statements of principals, that wait in the penalty box.",
        labels=["what"],
    )
    family.add_metric(["principal"], status["principals_waiting"])
    family.add_metric(["statement"], status["statements_waiting"])
    yield family
    yield GaugeMetricFamily(
        "duckdb_penalty_running_alone",
        "Principals and statements that must run alone after a crash.",
        value=status["running_alone"],
    )
    faults = CounterMetricFamily(
        "duckdb_statement_faults", "What statements broke, by kind.", labels=["kind"]
    )
    for kind, number in status["faults"].items():
        faults.add_metric([kind], number)
    yield faults
    yield CounterMetricFamily(
        "duckdb_penalty_boxed", "How often somebody was made to wait.", value=status["total_boxed"]
    )
    yield CounterMetricFamily(
        "duckdb_penalty_refused", "Statements refused meanwhile.", value=status["total_refused"]
    )
