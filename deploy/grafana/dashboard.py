"""The source of dashboard.json: `python deploy/grafana/dashboard.py` writes it anew.

A panel is one line here; Grafana wants forty lines of JSON for it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

INSTANCE = 'instance=~"$instance"'
RATE = f"{INSTANCE}}}[$__rate_interval]"
OUTPUT = Path(__file__).with_name("dashboard.json")


@dataclass(frozen=True)
class Panel:
    """One graph or number; ``queries`` are PromQL and legend."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    text: str = ""
    kind: str = "timeseries"
    width: int = 8
    red_above: float | None = None
    """From here on it is shown in red."""
    red_below: float | None = None
    mappings: dict[str, str] = field(default_factory=dict)


def one(expression: str, legend: str = "") -> tuple[tuple[str, str], ...]:
    return ((expression, legend),)


def quantiles(metric: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{{{RATE})))", f"p{q * 100:g}")
        for q in (0.5, 0.9, 0.99)
    )


ROWS: dict[str, tuple[Panel, ...]] = {
    "Overview": (
        Panel(
            "Health",
            "none",
            one(f"min(duckdb_service_health{{{INSTANCE}}})"),
            kind="stat",
            width=3,
            red_below=1,
            mappings={"1": "well", "0": "down"},
        ),
        Panel(
            "Statements a second",
            "reqps",
            one(f"sum(rate(duckdb_queries_total{{{RATE}))"),
            kind="stat",
            width=3,
        ),
        Panel(
            "Failed, of all but users' errors",
            "percentunit",
            one("max(duckdb:statement_errors:ratio_rate5m)"),
            "The objective is 1 %.",
            kind="stat",
            width=4,
            red_above=0.01,
        ),
        Panel(
            "p99",
            "s",
            (quantiles("duckdb_query_duration_seconds")[2],),
            kind="stat",
            width=3,
            red_above=5,
        ),
        Panel(
            "Memory",
            "percent",
            one(f"max(duckdb_memory_usage_percent{{{INSTANCE}}})"),
            kind="stat",
            width=3,
            red_above=80,
        ),
        Panel(
            "Disk",
            "percentunit",
            one(f"max(duckdb_disk_used_ratio{{{INSTANCE}}})"),
            kind="stat",
            width=3,
            red_above=0.9,
        ),
        Panel(
            "A lost disk would lose",
            "s",
            one(f"max(duckdb_replica_lag_seconds{{{INSTANCE}}})"),
            "How far the replica is behind.",
            kind="stat",
            width=5,
            red_above=60,
        ),
        Panel(
            "Parts that are not well",
            "none",
            one(f"duckdb_component_unhealthy{{{INSTANCE}}} > 0", "{{component}}"),
            "1 is degraded, 2 unhealthy. GET health tells why.",
            width=12,
        ),
        Panel(
            "Circuit breaker",
            "none",
            one(f"duckdb_circuit_breaker_state{{{INSTANCE}}}", "{{state}}"),
            width=12,
        ),
    ),
    "Statements": (
        Panel(
            "By outcome",
            "reqps",
            one(f"sum by (outcome) (rate(duckdb_queries_total{{{RATE}))", "{{outcome}}"),
        ),
        Panel(
            "By kind",
            "reqps",
            one(f"sum by (kind) (rate(duckdb_queries_total{{{RATE}))", "{{kind}}"),
        ),
        Panel("Duration", "s", quantiles("duckdb_query_duration_seconds"), "Waiting included."),
        Panel("Waiting for a worker", "s", quantiles("duckdb_queue_wait_seconds")),
        Panel(
            "Running and waiting",
            "none",
            (
                (f"duckdb_queries_in_flight{{{INSTANCE}}}", "running"),
                (f"duckdb_queue_depth{{{INSTANCE}}}", "waiting"),
                (f"duckdb_workers{{{INSTANCE}}}", "workers"),
            ),
        ),
        Panel(
            "Refused, the queue was full",
            "reqps",
            one(f"rate(duckdb_queue_refused_total{{{RATE})", "refused"),
        ),
        Panel("Rows a second", "rowsps", one(f"rate(duckdb_rows_returned_total{{{RATE})", "rows")),
        Panel(
            "HTTP answers",
            "reqps",
            one(
                f"sum by (http_response_status_code) (rate(http_server_request_duration_seconds_count{{{RATE}))",
                "{{http_response_status_code}}",
            ),
        ),
        Panel(
            "HTTP p99 by route",
            "s",
            one(
                f"histogram_quantile(0.99, sum by (le, http_route) (rate(http_server_request_duration_seconds_bucket{{{RATE})))",
                "{{http_route}}",
            ),
        ),
        Panel(
            "Bytes of results a second",
            "Bps",
            one(f"rate(duckdb_result_bytes_total{{{RATE})", "bytes"),
            width=12,
        ),
        Panel(
            "Missing in the query log",
            "reqps",
            one(f"rate(duckdb_query_log_dropped_total{{{RATE})", "dropped"),
            "The disk is too slow or full; statements never wait for their log.",
            width=12,
        ),
    ),
    "Resources": (
        Panel(
            "Memory",
            "bytes",
            (
                (f"duckdb_memory_used_bytes{{{INSTANCE}}}", "process"),
                (f"duckdb_memory_limit_bytes{{{INSTANCE}}}", "limit of the engine"),
            ),
        ),
        Panel(
            "Processor", "none", one(f"rate(process_cpu_seconds_total{{{RATE})", "processors busy")
        ),
        Panel(
            "Disk",
            "bytes",
            (
                (f"duckdb_disk_free_bytes{{{INSTANCE}}}", "free"),
                (f"duckdb_disk_floor_bytes{{{INSTANCE}}}", "writes are refused below"),
            ),
        ),
        Panel(
            "Database",
            "bytes",
            (
                (f"duckdb_database_size_bytes{{{INSTANCE}}}", "file and log"),
                (f"duckdb_wal_size_bytes{{{INSTANCE}}}", "log"),
            ),
        ),
        Panel(
            "Connections",
            "none",
            (
                (f"duckdb_pool_connections{{{INSTANCE}}}", "{{state}}"),
                (f"duckdb_pool_connections_limit{{{INSTANCE}}}", "limit"),
            ),
        ),
        Panel("Open files", "none", one(f"process_open_fds{{{INSTANCE}}}", "files")),
    ),
    "Durability": (
        Panel("Replica lag", "s", one(f"duckdb_replica_lag_seconds{{{INSTANCE}}}", "lag")),
        Panel(
            "Replica",
            "bytes",
            (
                (f"duckdb_replica_size_bytes{{{INSTANCE}}}", "size"),
                (f"duckdb_replica_unshipped_bytes{{{INSTANCE}}}", "not shipped yet"),
            ),
        ),
        Panel(
            "Store",
            "reqps",
            (
                (f"rate(duckdb_replica_requests_total{{{RATE})", "requests"),
                (f"rate(duckdb_replica_request_failures_total{{{RATE})", "failed"),
            ),
        ),
        Panel(
            "Age of the newest backup",
            "s",
            one(f"time() - duckdb_last_backup_success_timestamp_seconds{{{INSTANCE}}}", "age"),
            red_above=7200,
        ),
        Panel(
            "Checkpoints",
            "none",
            one(f"increase(duckdb_checkpoints_total{{{INSTANCE}}}[1h])", "an hour"),
        ),
        Panel(
            "Damaged blocks",
            "none",
            one(f"duckdb_scrub_damaged_blocks{{{INSTANCE}}}", "blocks"),
            red_above=1,
        ),
        Panel(
            "Last restore drill",
            "s",
            one(f"duckdb_last_drill_duration_seconds{{{INSTANCE}}}", "took"),
            width=12,
        ),
        Panel(
            "Engine healed",
            "none",
            one(f"increase(duckdb_engine_healed_total{{{INSTANCE}}}[1h])", "an hour"),
            width=12,
        ),
    ),
}


def build() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": top, "w": 24, "h": 1},
                "panels": [],
            }
        )
        top += 1
        left, height = 0, 0
        for panel in row:
            tall = 4 if panel.kind == "stat" else 7
            if left + panel.width > 24:
                top, left, height = top + height, 0, 0
            panels.append(
                _panel(panel, len(panels) + 1, {"x": left, "y": top, "w": panel.width, "h": tall})
            )
            left, height = left + panel.width, max(height, tall)
        top += height
    return {
        "uid": "chronoduck",
        "title": "chronoduck",
        "tags": ["duckdb", "chronoduck"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                {
                    "name": "DS_PROMETHEUS",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                },
                {
                    "name": "instance",
                    "label": "Instance",
                    "type": "query",
                    "datasource": {"type": "prometheus", "uid": "${DS_PROMETHEUS}"},
                    "query": "label_values(duckdb_service_health, instance)",
                    "refresh": 2,
                    "includeAll": True,
                    "multi": True,
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "panels": panels,
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red_above is not None:
        steps.append({"color": "red", "value": panel.red_above})
    if panel.red_below is not None:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": panel.red_below}]
    mappings = [
        {"type": "value", "options": {key: {"text": text} for key, text in panel.mappings.items()}}
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "gridPos": place,
        "datasource": {"type": "prometheus", "uid": "${DS_PROMETHEUS}"},
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "thresholds": {"mode": "absolute", "steps": steps},
                "mappings": mappings if panel.mappings else [],
            },
            "overrides": [],
        },
        "targets": [
            {"refId": chr(65 + index), "expr": expression, "legendFormat": legend or "__auto"}
            for index, (expression, legend) in enumerate(panel.queries)
        ],
    }


if __name__ == "__main__":
    OUTPUT.write_text(json.dumps(build(), indent=2) + "\n")
