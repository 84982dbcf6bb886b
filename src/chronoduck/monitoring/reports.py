"""Health, statistics and performance metrics as the JSON that clients read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from chronoduck.engine.known_bugs import durability_bugs
from chronoduck.engine.offline import find_set_aside
from chronoduck.monitoring.audit import audit_finding
from chronoduck.monitoring.clock import ClockProbe
from chronoduck.monitoring.durability import (
    backup_finding,
    checkpoint_finding,
    damaged_blocks,
    drill_finding,
    file_finding,
    replica_finding,
    replica_report,
)
from chronoduck.monitoring.exports import export_finding
from chronoduck.monitoring.health import Finding, Status, overall_status
from chronoduck.monitoring.history import QueryHistory
from chronoduck.monitoring.machine import MachineProbe
from chronoduck.monitoring.penalties import penalty_finding
from chronoduck.monitoring.restarts import restart_finding
from chronoduck.monitoring.set_aside import set_aside_finding
from chronoduck.monitoring.shadow import do_first, shadow_finding, shadow_report
from chronoduck.monitoring.space import space_finding
from chronoduck.monitoring.statements import query_log_finding
from chronoduck.monitoring.stored_files import StoredFiles
from chronoduck.monitoring.syncs import sync_finding
from chronoduck.units import format_bytes

__all__ = ["EngineAnswer", "Reports", "ServiceView", "StatementView"]

_DISK_WARN_PERCENT, _DISK_FULL_PERCENT = 90.0, 98.0
_MEMORY_WARN_PERCENT = 90.0
_LAST_CHECKPOINT_FAILED = "the last checkpoint failed: GET replication and the log say why"
_LOOK_SECONDS = 1.0
"""A volume that takes longer to tell what is on it does not delay the report."""
_SILENT_SECONDS = 5.0
"""An engine that has not answered for so long hangs; a shorter silence is a busy machine."""


class EngineAnswer(Protocol):
    """What the engine said when it was asked last."""

    @property
    def success(self) -> bool: ...
    @property
    def execution_time(self) -> float: ...
    @property
    def memory_mb(self) -> float: ...


class ServiceView(Protocol):
    """The numbers that reports are made of, as others keep them."""

    @property
    def is_initialized(self) -> bool: ...
    @property
    def database_path(self) -> Path: ...
    @property
    def uptime_seconds(self) -> float: ...
    @property
    def worker_threads(self) -> int: ...
    @property
    def stuck_workers(self) -> int: ...
    @property
    def memory_limit_bytes(self) -> int: ...

    def pool_status(self) -> dict[str, Any]: ...
    def queue_status(self) -> dict[str, Any]: ...
    def breaker_status(self) -> dict[str, Any]: ...
    def healing_status(self) -> dict[str, Any]: ...
    def restart_status(self) -> dict[str, Any]: ...
    def replica_status(self) -> dict[str, Any]: ...
    def checkpoint_status(self) -> dict[str, Any]: ...
    def file_status(self) -> dict[str, Any]: ...
    def shadow_status(self) -> dict[str, Any]: ...
    def backup_status(self) -> dict[str, Any]: ...
    def drill_status(self) -> dict[str, Any]: ...
    def sync_status(self) -> list[dict[str, Any]]: ...
    def export_status(self) -> list[dict[str, Any]]: ...
    def disk_status(self) -> dict[str, Any]: ...
    def analyzer_status(self) -> dict[str, int]: ...
    def space_status(self) -> dict[str, dict[str, int]]: ...
    @property
    def audit_status(self) -> Callable[[], dict[str, Any]]: ...
    @property
    def penalty_status(self) -> Callable[[], dict[str, Any]]: ...
    @property
    def sandbox_status(self) -> Callable[[], dict[str, Any]]: ...
    def extensions(self) -> Mapping[str, str]: ...
    def look_at_files(self) -> None: ...
    async def ping(self) -> tuple[EngineAnswer | None, float]: ...


class StatementView(Protocol):
    """What is known of ended statements."""

    @property
    def history(self) -> QueryHistory: ...
    def report(self) -> dict[str, Any]: ...
    def query_log_status(self) -> dict[str, Any]: ...


class Reports:
    """Makes each report from the numbers of the moment; nothing here waits for a statement."""

    def __init__(self, view: ServiceView, statements: StatementView, machine: MachineProbe) -> None:
        self._view = view
        self._statements = statements
        self._history = statements.history
        self._machine = machine
        self._clock = ClockProbe()
        self._stored = StoredFiles(view.database_path)
        self._set_aside = set_aside_finding(())
        self._looking: asyncio.Future[None] | None = None

    async def look(self) -> None:
        """Have a thread look at the files; reports tell what was found last. Before each report."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._look))
        await asyncio.wait({self._looking}, timeout=_LOOK_SECONDS)

    def _look(self) -> None:
        self._machine.look()
        self._stored.look()
        self._set_aside = set_aside_finding(find_set_aside(self._view.database_path))
        self._view.look_at_files()

    async def health(self) -> dict[str, Any]:
        """Return the health report; ``database_path`` and ``sandbox`` are not for the public."""
        view = self._view
        answer, silent_seconds = await view.ping() if view.is_initialized else (None, 0.0)
        findings = self._findings(answer, silent_seconds)
        return {
            "status": overall_status(findings).value,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "service_initialized": view.is_initialized,
            "database_exists": self._stored.exist,
            "database_path": str(view.database_path),
            "database_size_mb": self._stored.megabytes,
            "query_test": {
                "success": answer is not None and answer.success and silent_seconds == 0,
                "execution_time": round(answer.execution_time, 6) if answer else None,
                "memory_usage": answer.memory_mb if answer else None,
            },
            "connection_pool": view.pool_status(),
            "queue": view.queue_status(),
            "circuit_breaker": view.breaker_status(),
            "healing": view.healing_status(),
            "restarts": view.restart_status(),
            "extensions": dict(view.extensions()),
            "sandbox": view.sandbox_status(),
            "metrics": self.metrics(),
            "system": self._machine.read(),
            "components": {finding.component: finding.as_dict() for finding in findings},
            "errors": [
                f"{finding.reason}. {finding.hint}".strip()
                for finding in findings
                if finding.status is not Status.HEALTHY
            ],
        }

    def statistics(self) -> dict[str, Any]:
        """Return the statistics; no statement's text is in them.

        The names of templates are: ``latency.by_template`` is for who may see those.
        """
        view = self._view
        statements = self._statements.report()
        return {
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "service": {
                "initialized": view.is_initialized,
                "uptime_seconds": round(view.uptime_seconds, 3),
                "memory_limit": f"{view.memory_limit_bytes / 1e9:.2f}GB",
                "memory_limit_bytes": view.memory_limit_bytes,
                "worker_threads": view.worker_threads,
                "restarts": view.restart_status(),
            },
            "metrics": self.metrics(),
            "performance": self._history.performance(),
            "system": self._machine.read(),
            "connection_pool": view.pool_status(),
            "queue": view.queue_status(),
            "analyzers": view.analyzer_status(),
            "circuit_breaker": view.breaker_status(),
            "replication": _without_words(self.replication()),
            "database_file": self._stored.describe(),
            "disk": view.disk_status(),
            "space": view.space_status(),
            "audit": view.audit_status(),
            "penalties": view.penalty_status(),
            "query_analysis": {**self._history.analysis(), "windows": statements["windows"]},
            "latency": statements["latency"],
            "statements": statements["statements"],
            "query_log": statements["query_log"],
        }

    def replication(self) -> dict[str, Any]:
        """Return the report behind ``GET replication``."""
        view = self._view
        replica, shadow = view.replica_status(), view.shadow_status()
        report = replica_report(replica, view.checkpoint_status(), view.drill_status())
        return {
            **report,
            "damaged_blocks": damaged_blocks(replica, view.file_status(), shadow),
            "shadow": shadow_report(shadow),
        }

    def backups(self) -> dict[str, Any]:
        """Return how the backups are; empty while the database is closed."""
        return self._view.backup_status()

    def syncs(self) -> list[dict[str, Any]]:
        """Return how each sync is; empty while the database is closed."""
        return self._view.sync_status()

    def exports(self) -> list[dict[str, Any]]:
        """Return how each declared export is; empty while the database is closed."""
        return self._view.export_status()

    def performance_metrics(self) -> dict[str, Any]:
        """Return the short report behind ``templates/performance-metrics``."""
        breaker = self._view.breaker_status()
        history = self._history
        return {
            "query_performance": {
                "total_queries": history.total,
                "success_rate": history.success_rate,
                "avg_query_time": history.avg_query_time,
                "recent_query_times": history.recent_query_times(),
            },
            "system_performance": self._machine.read(),
            "memory_usage": {
                "service_memory_mb": self._machine.resident_mb(),
                "avg_query_memory_mb": history.avg_memory_mb,
            },
            "circuit_breaker": {
                "state": breaker["state"],
                "success_rate": breaker["metrics"]["success_rate"],
                "failure_count": breaker["failure_count"],
            },
        }

    def metrics(self) -> dict[str, Any]:
        """Return the counters that health and statistics have; looks at nothing outside."""
        pool = self._view.pool_status()
        return {
            "total_connections": pool["total_connections"],
            "active_connections": pool["in_use"],
            **self._history.metrics(),
            "memory_usage_mb": self._machine.resident_mb(),
        }

    def _findings(self, answer: EngineAnswer | None, silent_seconds: float) -> list[Finding]:
        if not self._view.is_initialized:
            return [
                Finding(
                    "service",
                    Status.NOT_INITIALIZED,
                    "The service has not opened its database",
                    "POST initialize, or see the log for why the start failed.",
                )
            ]
        replica, shadow = self._view.replica_status(), self._view.shadow_status()
        damaged = damaged_blocks(replica, self._view.file_status(), shadow)
        return [
            self._engine_finding(answer, silent_seconds),
            self._breaker_finding(),
            self._workers_finding(),
            self._disk_finding(),
            space_finding(self._view.space_status()),
            self._memory_finding(),
            self._extensions_finding(),
            replica_finding(replica),
            file_finding(replica, damaged, do_first(shadow)),
            self._set_aside,
            checkpoint_finding(self._view.checkpoint_status(), damaged),
            shadow_finding(shadow),
            backup_finding(self._view.backup_status()),
            restart_finding(self._view.restart_status()),
            drill_finding(self._view.drill_status()),
            sync_finding(self._view.sync_status()),
            export_finding(self._view.export_status()),
            audit_finding(self._view.audit_status()),
            penalty_finding(self._view.penalty_status()),
            query_log_finding(self._statements.query_log_status()),
            self._clock.finding(),
        ]

    def _engine_finding(self, answer: EngineAnswer | None, silent_seconds: float) -> Finding:
        healing = self._view.healing_status()
        if healing["is_healing"]:
            failure = f", and that failed: {healing['failure']}" if healing["failure"] else ""
            return Finding(
                "engine",
                Status.UNHEALTHY,
                f"The database is being reopened after a failure{failure}",
                "Statements wait. If this lasts, the process is replaced; its start tries other ways.",
            )
        if silent_seconds > _SILENT_SECONDS:
            return Finding(
                "engine",
                Status.UNHEALTHY,
                f"The engine has not answered for {silent_seconds:.0f} s",
                "GET queries shows what runs; DELETE queries/{id} ends it; else restart.",
            )
        if silent_seconds == 0 and answer is not None and not answer.success:
            return Finding(
                "engine",
                Status.UNHEALTHY,
                "The engine does not answer a query",
                "It is reopened at the next statement; look for instance_failed in the log.",
            )
        bugs = durability_bugs()
        if bugs:
            return Finding(
                "engine",
                Status.HEALTHY,
                "This engine has durability bugs that the next one has not: " + "; ".join(bugs),
                "Move to the engine that the package asks for: `chronoduck help engine-versions`.",
            )
        return Finding("engine", Status.HEALTHY)

    def _breaker_finding(self) -> Finding:
        status = self._view.breaker_status()
        if status["state"] == "closed":
            return Finding("circuit_breaker", Status.HEALTHY)
        return Finding(
            "circuit_breaker",
            Status.UNHEALTHY if status["state"] == "open" else Status.DEGRADED,
            f"The circuit breaker is {status['state']} after {status['failure_count']} failures",
            "Mend the cause (disk, file), then run `chronoduck breaker reset`.",
        )

    def _workers_finding(self) -> Finding:
        stuck, workers = self._view.stuck_workers, self._view.worker_threads
        queue = self._view.queue_status()
        if stuck:
            return Finding(
                "workers",
                Status.UNHEALTHY if stuck >= workers else Status.DEGRADED,
                f"{stuck} of {workers} workers do not listen to their interrupt",
                "The supervisor replaces the process if they do not end; without one, restart it.",
            )
        if queue["waiting"] and queue["waiting"] >= queue["queue_size"]:
            return Finding(
                "workers",
                Status.DEGRADED,
                f"{queue['waiting']} statements wait and new ones are refused",
                "GET queries shows what runs long; or raise DUCKDB_WORKER_THREADS.",
            )
        return Finding("workers", Status.HEALTHY)

    def _disk_finding(self) -> Finding:
        guard = self._view.disk_status()
        if guard and guard["is_refusing_writes"]:
            return Finding(
                "disk",
                Status.UNHEALTHY,
                f"Writes are refused: the volume of the database has only "
                f"{format_bytes(guard['free_bytes'])} free, and the file "
                f"{format_bytes(guard['free_inside_bytes'])} inside",
                "DROP or DELETE what is not needed and run CHECKPOINT; or free space on the volume or "
                "enlarge it. Writes then go on by themselves.",
            )
        if guard and guard["writers_stopped"]:
            return Finding(
                "disk",
                Status.DEGRADED,
                f"The volume of the database has only {format_bytes(guard['free_bytes'])} free; "
                f"principals that fill it and may not write for now: {guard['writers_stopped']}",
                "The log names them (writer_stopped). Free space or enlarge the volume.",
            )
        percent = self._machine.disk_percent
        if percent < _DISK_WARN_PERCENT:
            return Finding("disk", Status.HEALTHY)
        return Finding(
            "disk",
            Status.UNHEALTHY if percent >= _DISK_FULL_PERCENT else Status.DEGRADED,
            f"The volume of the database is {percent:.0f} % full",
            "Free space or enlarge the volume; writes fail when it is full.",
        )

    def _memory_finding(self) -> Finding:
        percent = self._machine.read()["process_memory_percent"]
        if percent < _MEMORY_WARN_PERCENT:
            return Finding("memory", Status.HEALTHY)
        return Finding(
            "memory",
            Status.DEGRADED,
            f"The service uses {percent:.0f} % of the memory it may use",
            "Lower DUCKDB_MEMORY_LIMIT or DUCKDB_WORKER_THREADS and restart.",
        )

    def _extensions_finding(self) -> Finding:
        missing = [
            f"{name} is {state}"
            for name, state in self._view.extensions().items()
            if state.startswith("unavailable")
        ]
        if not missing:
            return Finding("extensions", Status.HEALTHY)
        return Finding(
            "extensions",
            Status.DEGRADED,
            "; ".join(missing),
            "Install chronoduck[s3], or switch DUCKDB_ENABLE_S3 off.",
        )


def _without_words(report: dict[str, Any]) -> dict[str, Any]:
    """Drop what names hosts and paths: the store's and the engine's words are for GET replication.

    The engine repeats what users wrote.
    """
    shadow = {name: value for name, value in report["shadow"].items() if name != "reason"}
    hidden = ("error", "hint", "retention_error", "notice", "shadow", "checkpoints")
    checkpoints = dict(report["checkpoints"])
    if checkpoints.get("last_error"):
        checkpoints["last_error"] = _LAST_CHECKPOINT_FAILED
    return {
        **{name: report[name] for name in report if name not in hidden},
        "shadow": shadow,
        "checkpoints": checkpoints,
    }
