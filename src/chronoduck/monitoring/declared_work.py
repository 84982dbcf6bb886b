"""How work that a file declares is, judged for health and counted for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from chronoduck.monitoring.health import Finding, Status

__all__ = ["work_families", "work_finding"]

_REPEATEDLY = 3
_GAUGES = {
    "running": ("is_running", "1 while it runs."),
    "consecutive_failures": ("failures", "Runs that failed since the last success."),
    "last_duration_seconds": ("seconds", "How long the last successful run took."),
}
_COUNTERS = {
    "runs": ("runs", "Runs that have ended, well or not."),
    "failures": ("total_failures", "Runs that failed."),
}
Facts = Mapping[str, tuple[str, str]]
"""The end of a metric's name to the field that has its value and its help text."""


def work_finding(
    component: str,
    words: str,
    pieces: Sequence[Mapping[str, Any]],
    trouble_of: Callable[[Mapping[str, Any]], str] = lambda _: "",
) -> Finding:
    """Judge whether pieces fail again and again, or do not come to their end.

    ``trouble_of`` says what else is wrong with one, or nothing.
    """
    troubles = []
    for each in pieces:
        if each["failures"] >= _REPEATEDLY:
            troubles.append(f"{each['name']} failed {each['failures']} times ({each['error']})")
        elif each["is_overdue"]:
            troubles.append(f"{each['name']} missed two of its times")
        if trouble := trouble_of(each):
            troubles.append(f"{each['name']} {trouble}")
    if not troubles:
        return Finding(component, Status.HEALTHY)
    return Finding(
        component,
        Status.DEGRADED,
        f"{words}: {'; '.join(troubles)}",
        f"`chronoduck {component} status` tells why and what to do.",
    )


def work_families(
    kind: str, pieces: Sequence[Mapping[str, Any]], gauges: Facts, counters: Facts
) -> Iterator[Metric]:
    """Yield one series per declared piece, labelled by ``kind``; without any there are none."""
    if not pieces:
        return
    for name, (field, text) in {**_GAUGES, **gauges}.items():
        gauge = GaugeMetricFamily(f"duckdb_{kind}_{name}", text, labels=[kind])
        for each in pieces:
            if each[field] is not None:
                gauge.add_metric([each["name"]], float(each[field]))
        yield gauge
    for name, (field, text) in {**_COUNTERS, **counters}.items():
        counter = CounterMetricFamily(f"duckdb_{kind}_{name}", text, labels=[kind])
        for each in pieces:
            counter.add_metric([each["name"]], float(each[field]))
        yield counter
    last = GaugeMetricFamily(
        f"duckdb_{kind}_last_success_timestamp_seconds", "When it last went well.", labels=[kind]
    )
    for each in pieces:
        if each["last_success_at"]:
            last.add_metric(
                [each["name"]], datetime.fromisoformat(each["last_success_at"]).timestamp()
            )
    yield last
