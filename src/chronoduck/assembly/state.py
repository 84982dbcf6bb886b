"""The numbers that monitoring reads, taken from the engine's and the service's parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chronoduck.assembly.parts import Parts
from chronoduck.assembly.sandbox import Sandbox
from chronoduck.assembly.space_budgets import describe_space, measure_space
from chronoduck.engine.memory import MemoryBudget, memory_budget
from chronoduck.engine.ping import PingResult
from chronoduck.monitoring.machine import MachineProbe
from chronoduck.monitoring.reports import Reports, StatementView
from chronoduck.monitoring.restarts import RestartHistory
from chronoduck.resilience.breaker import CircuitBreaker
from chronoduck.settings import Settings

__all__ = ["StateView", "make_reports"]


class StateView:
    """Answers in every state of the service; a closed one has an empty pool and an idle queue."""

    def __init__(
        self,
        settings: Settings,
        breaker: CircuitBreaker,
        budget: MemoryBudget,
        restarts: RestartHistory,
        current: Callable[[], Parts | None],
        audit_status: Callable[[], dict[str, Any]],
        penalty_status: Callable[[], dict[str, Any]],
        sandbox: Sandbox,
    ) -> None:
        self._settings = settings
        self._breaker = breaker
        self._restarts = restarts
        self._current = current
        self.audit_status = audit_status
        self.penalty_status = penalty_status
        self.sandbox_status = sandbox.report
        self._sandbox = sandbox
        self._measured: dict[str, int] = {}
        self.memory_limit_bytes = budget.limit_bytes

    def look_at_files(self) -> None:
        """Look at what is told of files that others do not follow; blocks."""
        self._measured = measure_space(self._settings)
        self._sandbox.look()
        state = self._current()
        if state is not None:
            state.checkpointer.look()

    @property
    def is_initialized(self) -> bool:
        """Whether the database is open and statements are accepted."""
        return self._current() is not None

    @property
    def database_path(self) -> Path:
        """The database file."""
        return self._settings.database_path

    @property
    def uptime_seconds(self) -> float:
        """Seconds since the database was opened."""
        state = self._current()
        return time.monotonic() - state.started_at if state else 0.0

    @property
    def worker_threads(self) -> int:
        """Statements that can run at the same time."""
        return self._settings.worker_threads

    @property
    def stuck_workers(self) -> int:
        """Workers whose statement outlived its deadline."""
        state = self._current()
        return len(state.access.stuck) if state else 0

    def pool_status(self) -> dict[str, Any]:
        """Return the pool's counters."""
        state = self._current()
        if state is not None:
            return dict(state.access.pool.get_status())
        return {
            "total_connections": 0,
            "available_connections": 0,
            "max_connections": self._settings.pool_size,
            "in_use": 0,
            "requests_waiting": 0,
        }

    def analyzer_status(self) -> dict[str, int]:
        """Return counts of the processes that judge statements."""
        state = self._current()
        if state is None:
            return {"running": 0, "waiting": 0, "total_questions": 0, "total_deaths": 0}
        return state.runner.analysis.pool.status()

    def space_status(self) -> dict[str, dict[str, int]]:
        """Return what every kind of files takes of its budget."""
        state = self._current()
        budgets = None if state is None else state.space
        return describe_space(self._settings, budgets, self._measured)

    def queue_status(self) -> dict[str, Any]:
        """Return the admission's counters."""
        state = self._current()
        admission = state.access.admission if state else None
        return {
            "running": admission.running if admission else 0,
            "waiting": admission.waiting if admission else 0,
            "worker_threads": self._settings.worker_threads,
            "queue_size": self._settings.queue_size,
            "stuck": self.stuck_workers,
            "total_stuck": state.access.stuck.total if state else 0,
            "total_refused": admission.total_refused if admission else 0,
        }

    def breaker_status(self) -> dict[str, Any]:
        """Return the breaker's state and counters."""
        return self._breaker.get_status()

    def restart_status(self) -> dict[str, Any]:
        """Return how often this process's predecessors were replaced, and why the last one was."""
        return self._restarts.as_dict()

    def healing_status(self) -> dict[str, Any]:
        """Return whether, how often and when last the instance was reopened."""
        state = self._current()
        if state is not None:
            return state.access.healer.get_status()
        return {"is_healing": False, "failure": "", "count": 0, "last_heal": None}

    def replica_status(self) -> dict[str, Any]:
        """Return the replicator's status; empty when there is none."""
        state = self._current()
        return {} if state is None or state.link is None else state.link.get_status()

    def checkpoint_status(self) -> dict[str, Any]:
        """Return the checkpoints' counters and pauses; empty while the database is closed."""
        state = self._current()
        return {} if state is None else state.checkpointer.get_status()

    def file_status(self) -> dict[str, Any]:
        """Return what statements and checkpoints found damaged; empty while the database is closed."""
        state = self._current()
        return {} if state is None else state.access.instance.damage.get_status()

    def shadow_status(self) -> dict[str, Any]:
        """Return what the shadow found out; empty while the database is closed."""
        state = self._current()
        if state is None:
            return {}
        return {
            **state.shadow.get_status(),
            "saving": state.refuted.get_status(),
            "acknowledging": state.access.barrier.get_status(),
        }

    def backup_status(self) -> dict[str, Any]:
        """Return whether backups are made and how the last one ended; empty while closed."""
        state = self._current()
        return {} if state is None else state.backups.get_status()

    def drill_status(self) -> dict[str, Any]:
        """Return how the last restore drill went and when the next one is; empty while closed."""
        state = self._current()
        return {} if state is None else state.drills.get_status()

    def sync_status(self) -> list[dict[str, Any]]:
        """Return how each sync is; empty while closed."""
        state = self._current()
        return [] if state is None else state.syncs.get_status()

    def export_status(self) -> list[dict[str, Any]]:
        """Return how each declared export is; empty while closed."""
        state = self._current()
        return [] if state is None else state.declared_exports.get_status()

    def disk_status(self) -> dict[str, Any]:
        """Return the free space and whether writes are refused; empty while closed."""
        state = self._current()
        return {} if state is None else state.guard.get_status()

    def extensions(self) -> Mapping[str, str]:
        """Return name -> state of each extension."""
        state = self._current()
        return state.access.instance.extensions if state else {}

    async def ping(self) -> tuple[PingResult | None, float]:
        """Return the engine's newest answer and for how long a question is pending."""
        state = self._current()
        return await state.ping.ping() if state else (None, 0.0)


def make_reports(
    settings: Settings,
    breaker: CircuitBreaker,
    restarts: RestartHistory,
    current: Callable[[], Parts | None],
    audit_status: Callable[[], dict[str, Any]],
    penalty_status: Callable[[], dict[str, Any]],
    sandbox: Sandbox,
    statements: StatementView,
) -> Reports:
    """Return the reports of a service in every state; ``current`` is None while it is closed."""
    budget = memory_budget(settings)
    view = StateView(
        settings,
        breaker,
        budget,
        restarts,
        current,
        audit_status,
        penalty_status,
        sandbox,
    )
    machine = MachineProbe(budget.total_bytes, settings.database_path.parent)
    return Reports(view, statements, machine)
