"""What is read from the service's reports at every scrape, as metric families."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

__all__ = ["durability_families", "engine_families", "health_families", "resource_families"]

_STATUSES = ("healthy", "degraded", "unhealthy", "not_initialized")
_BREAKER_STATES = ("closed", "open", "half_open")
_WELL = ("healthy", "degraded")


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _state_set(
    name: str, text: str, label: str, states: Iterable[str], current: str
) -> GaugeMetricFamily:
    """Return one series per state, 1 for the one that holds: PromQL cannot compare texts."""
    family = GaugeMetricFamily(name, text, labels=[label])
    for state in states:
        family.add_metric([state], float(state == current))
    return family


def health_families(health: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield how well the service and each of its parts are."""
    status = health["status"]
    yield _gauge(
        "duckdb_service_health",
        "1 while the service takes statements (healthy or degraded), else 0.",
        float(status in _WELL),
    )
    yield _gauge("duckdb_up", "The same, under the conventional name.", float(status in _WELL))
    yield _state_set(
        "duckdb_service_status", "The status that GET health tells.", "status", _STATUSES, status
    )
    family = GaugeMetricFamily(
        "duckdb_component_unhealthy",
        "0 while a part is healthy, 1 when it is degraded, 2 when it is unhealthy.",
        labels=["component"],
    )
    for name, finding in health["components"].items():
        family.add_metric([name], float(min(2, _STATUSES.index(finding["status"]))))
    yield family
    yield _state_set(
        "duckdb_circuit_breaker_state",
        "1 for the breaker's state, 0 for the others.",
        "state",
        _BREAKER_STATES,
        health["circuit_breaker"]["state"],
    )
    yield CounterMetricFamily(
        "duckdb_circuit_breaker_opened",
        "How often the breaker has opened.",
        value=health["circuit_breaker"]["metrics"]["circuit_open_count"],
    )
    yield CounterMetricFamily(
        "duckdb_engine_healed",
        "How often the engine was reopened after a failure.",
        value=health["healing"]["count"],
    )


def engine_families(health: Mapping[str, Any], statistics: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield queue, pool and durations."""
    queue, pool = health["queue"], health["connection_pool"]
    yield _gauge("duckdb_queries_in_flight", "Statements that workers run.", queue["running"])
    yield _gauge("duckdb_queue_depth", "Statements that wait for a worker.", queue["waiting"])
    yield _gauge("duckdb_queue_limit", "Statements that may wait.", queue["queue_size"])
    yield _gauge("duckdb_workers", "Statements that can run at once.", queue["worker_threads"])
    yield CounterMetricFamily(
        "duckdb_queue_refused",
        "Statements refused because too many waited.",
        value=queue["total_refused"],
    )
    analyzers = statistics["analyzers"]
    yield _gauge("duckdb_analyzers", "Processes that judge statements.", analyzers["running"])
    yield _gauge(
        "duckdb_analyzer_queue_depth", "Statements that wait for one.", analyzers["waiting"]
    )
    yield CounterMetricFamily(
        "duckdb_analyzer_deaths",
        "Analyzers that died of a statement, or were ended because it took too long.",
        value=analyzers["total_deaths"],
    )
    family = GaugeMetricFamily(
        "duckdb_pool_connections", "Connections of the pool.", labels=["state"]
    )
    family.add_metric(["in_use"], pool["in_use"])
    family.add_metric(["idle"], pool["total_connections"] - pool["in_use"])
    yield family
    yield _gauge(
        "duckdb_pool_connections_limit", "Connections there may be.", pool["max_connections"]
    )
    yield _gauge(
        "duckdb_avg_query_time",
        "Mean seconds of the last ten successful statements; the histogram tells more.",
        _mean(statistics["performance"]["recent_query_times"]),
    )
    log = statistics["query_log"]
    yield CounterMetricFamily(
        "duckdb_query_log_written", "Statements in the query log.", value=log["written"]
    )
    yield CounterMetricFamily(
        "duckdb_query_log_dropped",
        "Statements that are missing in it: too many waited, or it could not be written.",
        value=log["dropped"],
    )
    test = health["query_test"]
    if test["execution_time"] is not None:
        yield _gauge(
            "duckdb_ping_seconds",
            "How long the engine took to answer SELECT 1 last.",
            test["execution_time"],
        )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def resource_families(statistics: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield memory, disk and files."""
    system, service, disk = statistics["system"], statistics["service"], statistics["disk"]
    yield _gauge(
        "duckdb_memory_usage_percent",
        "Memory of the process in percent of what it may use.",
        system["process_memory_percent"],
    )
    yield _gauge(
        "duckdb_memory_used_bytes",
        "Memory of the process.",
        round(system["process_memory_mb"] * 1e6),
    )
    yield _gauge(
        "duckdb_memory_limit_bytes", "What the engine may use.", service["memory_limit_bytes"]
    )
    yield _gauge(
        "duckdb_database_size_bytes",
        "The database file and its log.",
        round(statistics["database_file"]["size_mb"] * 1e6),
    )
    yield _gauge(
        "duckdb_uptime_seconds", "Since the database was opened.", service["uptime_seconds"]
    )
    yield _gauge(
        "duckdb_disk_used_ratio",
        "How full the volume of the database is, 0 to 1.",
        system["disk_usage_percent"] / 100,
    )
    if disk:
        yield _gauge(
            "duckdb_disk_free_bytes", "Free on the volume of the database.", disk["free_bytes"]
        )
        yield _gauge("duckdb_disk_floor_bytes", "Below it writes are refused.", disk["floor_bytes"])
        yield _gauge(
            "duckdb_writes_refused",
            "1 while writes are refused for want of space.",
            float(disk["is_refusing_writes"]),
        )


def durability_families(
    replication: Mapping[str, Any], backups: Mapping[str, Any]
) -> Iterator[Metric]:
    """Yield replica, checkpoints, backups and drills; what does not exist has no series."""
    checkpoints = replication["checkpoints"]
    if checkpoints:
        yield _gauge("duckdb_wal_size_bytes", "Size of the log.", checkpoints["log_bytes"])
        yield _gauge("duckdb_wal_commits", "Transactions in the log.", checkpoints["log_commits"])
        yield CounterMetricFamily(
            "duckdb_checkpoints", "Checkpoints that were made.", value=checkpoints["count"]
        )
        yield _gauge(
            "duckdb_checkpoint_failing",
            "1 while the log cannot be folded into the file.",
            float(bool(checkpoints["last_error"])),
        )
    yield from _shadow_families(replication["shadow"])
    yield _gauge(
        "duckdb_backup_enabled",
        "1 when there is a backup directory.",
        float(backups.get("enabled", False)),
    )
    if backups.get("last_success_at"):
        yield _gauge(
            "duckdb_last_backup_success_timestamp_seconds",
            "When the newest backup was made.",
            _unix(backups["last_success_at"]),
        )
    yield _gauge(
        "duckdb_scrub_damaged_blocks",
        "Blocks of the database file that are damaged or missing, whoever found them.",
        replication["damaged_blocks"],
    )
    yield _gauge(
        "duckdb_replica_enabled", "1 when there is a replica.", float(replication["enabled"])
    )
    if replication["enabled"]:
        yield from _replica_families(replication)


def _shadow_families(shadow: Mapping[str, Any]) -> Iterator[Metric]:
    if not shadow:
        return
    yield _state_set(
        "duckdb_shadow_verdict",
        "1 for what is known of a start with the present WAL, 0 for the others.",
        "verdict",
        ("proven", "refuted", "not_judged"),
        shadow["verdict"],
    )
    yield _gauge(
        "duckdb_shadow_cpu_ratio",
        "CPU that the shadow used in the last 10 minutes, in cores.",
        shadow["cpu_share"],
    )
    yield _gauge("duckdb_shadow_copy_bytes", "Size of its private copy.", shadow["copy_bytes"])
    yield CounterMetricFamily(
        "duckdb_shadow_attempts", "Replays that it tried.", value=shadow["attempts"]
    )
    yield CounterMetricFamily(
        "duckdb_shadow_failures", "Replays that did not end well.", value=shadow["failures"]
    )
    yield from _acknowledging_families(shadow["acknowledging"])
    for level in ("replayed", "proven"):
        until = shadow[f"{level}_until"]
        if until:
            yield _gauge(
                f"duckdb_shadow_{level}_timestamp_seconds",
                f"Everything committed before this time was {level}.",
                _unix(until["time"]),
            )


def _acknowledging_families(counts: Mapping[str, Any]) -> Iterator[Metric]:
    yield _gauge(
        "duckdb_ack_waiting", "Committed writes that wait for a proof now.", counts["waiting"]
    )
    waits = CounterMetricFamily(
        "duckdb_ack_waits",
        "Waits for a proof, by what ended them: proof, checkpoint, neither (acknowledged all the "
        "same), or the answer that the outcome is unknown.",
        labels=["outcome"],
    )
    for outcome, name in (
        ("proof", "proofs"),
        ("checkpoint", "checkpoints"),
        ("unproven", "unproven"),
        ("unknown", "unknown"),
    ):
        waits.add_metric([outcome], counts[name])
    yield waits
    yield CounterMetricFamily(
        "duckdb_ack_wait_seconds",
        "How long committed writes have waited for a proof, together.",
        value=counts["wait_seconds"],
    )


def _replica_families(replication: Mapping[str, Any]) -> Iterator[Metric]:
    if replication["lag_seconds"] is not None:
        yield _gauge(
            "duckdb_replica_lag_seconds",
            "What a lost disk would lose now.",
            replication["lag_seconds"],
        )
    yield _gauge(
        "duckdb_replica_unshipped_bytes",
        "Of the log, not in the replica.",
        replication["lag_bytes"],
    )
    yield _state_set(
        "duckdb_replica_state",
        "1 for what the replicator does, 0 for the others.",
        "state",
        ("starting", "syncing", "following", "failing", "refused", "stopped"),
        replication["state"],
    )
    yield _gauge(
        "duckdb_replica_store_damaged",
        "1 when the store has lost or spoilt something that was shipped.",
        float(bool(replication["notice"])),
    )
    for level in ("replayed", "proven"):
        until = replication[f"{level}_until"]
        if until is not None:
            yield _gauge(
                f"duckdb_replica_{level}_until_timestamp_seconds",
                f"Time of the newest point that was {level} on a copy.",
                datetime.fromisoformat(until).timestamp(),
            )
    store = replication["store"]
    yield _gauge("duckdb_replica_size_bytes", "Size of the replica.", store["bytes"])
    yield CounterMetricFamily(
        "duckdb_replica_shipped_bytes", "Bytes written to it.", value=store["shipped_bytes"]
    )
    yield CounterMetricFamily(
        "duckdb_replica_requests", "Calls to its store.", value=store["requests"]
    )
    yield CounterMetricFamily(
        "duckdb_replica_request_failures", "Calls that failed.", value=store["failures"]
    )
    scrub = replication["scrub"]
    if scrub["last_round"]:
        yield _gauge(
            "duckdb_scrub_last_round_timestamp_seconds",
            "When the whole file had been read again.",
            _unix(scrub["last_round"]),
        )
    drill = replication["drill"]["last"]
    if drill:
        yield _gauge(
            "duckdb_last_drill_timestamp_seconds", "When it was tried.", _unix(drill["at"])
        )
        yield _gauge(
            "duckdb_last_drill_success", "1 when that restore went well.", float(drill["succeeded"])
        )
        yield _gauge("duckdb_last_drill_duration_seconds", "How long it took.", drill["seconds"])


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
