"""Declared work of the service: by schedule and on demand, as jobs, one at a time of each."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from chronoduck.assembly.schedule import Schedule
from chronoduck.declared import RunState, StateSession, StateTable
from chronoduck.errors import DuckDBException
from chronoduck.logs import get_logger
from chronoduck.service.jobs import Job, JobRegistry, Progress

__all__ = ["ScheduledWork", "Transact", "age_seconds"]

_AT_ONCE = 2
"""Each reads a snapshot and has files on the disk."""
_SAVE_SECONDS = 10.0


class DeclaredWork(Protocol):
    """One piece of work as a file declares it."""

    @property
    def name(self) -> str: ...

    @property
    def schedule(self) -> str: ...


D = TypeVar("D", bound=DeclaredWork)
S = TypeVar("S", bound=RunState)
Transact = Callable[[Callable[[StateSession], Any]], Awaitable[Any]]
"""Runs a function of several statements in one transaction and returns what it returns."""


class ScheduledWork(ABC, Generic[D, S]):
    """Lives on the event loop while the database is open. What a run does, is a subclass's."""

    _kind: str
    """Of its jobs, before the name."""

    def __init__(
        self,
        declared: Mapping[str, D],
        table: StateTable[S],
        transact: Transact,
        jobs: JobRegistry,
        spool_directory: Path,
    ) -> None:
        """``spool_directory``: where runs have directories of their own."""
        self._declared = declared
        self._table = table
        self._transact = transact
        self._jobs = jobs
        self._spool_directory = spool_directory
        self._mark = f"{self._kind}-{secrets.token_hex(4)}"
        """Of the directories of this process's runs."""
        self._states: dict[str, S] | None = None
        self._reading = asyncio.Lock()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._since = time.monotonic()
        self._succeeded_at: dict[str, float] = {}
        """``time.monotonic()`` of this process's last successes."""
        self._running: dict[str, Job] = {}
        self._looking: asyncio.Task[None] | None = None
        self._schedules = {
            name: Schedule(each.schedule, self._beginner(name)) for name, each in declared.items()
        }
        self._log = get_logger(self._kind)

    @abstractmethod
    async def _run(self, declared: D, show: Progress, **wish: Any) -> dict[str, Any]:
        """Do the work once and return what the job's result tells."""

    @abstractmethod
    def _not_found(self, name: str, known: str) -> DuckDBException:
        """Return the error for a name that is not declared; ``known`` lists the others."""

    @abstractmethod
    def _empty(self, name: str) -> S:
        """Return what is known of work that never ran."""

    @property
    def _has_states(self) -> bool:
        """Whether earlier runs may have left something to know."""
        return bool(self._declared)

    def start(self) -> None:
        """Begin to follow the schedules."""
        if self._has_states:
            self._looking = asyncio.create_task(self._look())
        for schedule in self._schedules.values():
            schedule.start()

    async def stop(self) -> None:
        """End the schedules; the registry ends the jobs."""
        if self._looking is not None:
            self._looking.cancel()
        for schedule in self._schedules.values():
            await schedule.stop()

    async def _look(self) -> None:
        """Read what earlier processes knew, for the reports, and remove what killed ones left."""
        found = await asyncio.to_thread(list, self._spool_directory.glob(f"{self._kind}-*"))
        for left in found:
            if not left.name.startswith(self._mark):
                await asyncio.to_thread(shutil.rmtree, left, True)
        with contextlib.suppress(DuckDBException):
            await self._known()

    async def _known(self) -> dict[str, S]:
        async with self._reading:
            if self._states is None:
                self._states = await self._transact(self._table.read)
            return self._states

    def _state(self, name: str) -> S:
        """Return what is known now."""
        return (self._states or {}).get(name) or self._empty(name)

    def _beginner(self, name: str) -> Callable[[], Job]:
        return lambda: self.begin(name)

    def begin(self, name: str, **wish: Any) -> Job:
        """Begin a run; ``wish`` is how this one differs from a scheduled one.

        Raises:
            NotFoundError: there is none of that name.
            JobConflictError: it runs.
        """
        declared = self._find(name)

        async def work(show: Progress) -> dict[str, Any]:
            show(f"waiting for other {self._kind}s", 0, 0)
            async with self._places:
                done = await self._run(declared, show, **wish)
                self._succeeded_at[name] = time.monotonic()
                return done

        job = self._running[name] = self._jobs.start(f"{self._kind} {name}", work)
        return job

    def names(self, wanted: Sequence[str] = ()) -> list[str]:
        """Return the declared ones, or those that are wanted.

        Raises:
            NotFoundError: one is not declared.
        """
        return [self._find(name).name for name in wanted] or list(self._declared)

    def _find(self, name: str) -> D:
        if name not in self._declared:
            raise self._not_found(name[:60], ", ".join(self._declared))
        return self._declared[name]

    def _job_of(self, name: str) -> Job | None:
        """Return the job that runs now."""
        job = self._running.get(name)
        return None if job is None or job.has_ended else job

    async def _fail(self, state: S, error: DuckDBException) -> None:
        """Keep a failure, over a restart, too; what failed may be the database itself."""
        told = {"code": error.code, "detail": error.detail, "hint": error.hint}
        failed = state.failed(told, datetime.now(UTC).isoformat(timespec="milliseconds"))
        (await self._known())[state.name] = failed
        try:
            async with asyncio.timeout(_SAVE_SECONDS):
                await self._transact(lambda session: self._table.save(session, failed))
        except (DuckDBException, TimeoutError) as problem:
            self._log.warning("state_not_saved", name=state.name, reason=str(problem))

    async def describe(self) -> list[dict[str, Any]]:
        """Return what the API shows of each."""
        if self._declared:
            await self._known()
        return [self._describe(each) for each in self._declared.values()]

    def _describe(self, declared: D) -> dict[str, Any]:
        state = self._state(declared.name)
        next_at = self._schedules[declared.name].next_at
        job = self._job_of(declared.name)
        return {
            "schedule": declared.schedule,
            "next_at": None if next_at is None else next_at.isoformat(),
            "job": None if job is None else job.id,
            "last_run_at": state.last_run_at,
            "last_success_at": state.last_success_at,
            "failures": state.failures,
            "error": state.error,
            "notes": list(state.notes),
        }

    def get_status(self) -> list[dict[str, Any]]:
        """Return what health and metrics need of each; no words of other servers are in it."""
        return [self._status(name, self._state(name)) for name in self._declared]

    def _status(self, name: str, state: S) -> dict[str, Any]:
        return {
            "name": name,
            "is_running": self._job_of(name) is not None,
            "last_success_at": state.last_success_at,
            "failures": state.failures,
            "error": state.error["code"] if state.error else "",
            "is_overdue": self._is_overdue(name),
            "runs": state.runs,
            "total_failures": state.total_failures,
            "seconds": state.last_seconds,
        }

    def _is_overdue(self, name: str) -> bool:
        """Whether two of the schedule's times have passed without a success."""
        schedule = self._schedules.get(name)
        interval = None if schedule is None else schedule.interval_seconds
        if interval is None:
            return False
        last = self._succeeded_at.get(name, self._since)
        return time.monotonic() - last > 2 * interval + 60


def age_seconds(moment: str | None) -> float | None:
    """Return how long ago an ISO time is, None for none."""
    if moment is None:
        return None
    return round(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()), 3)
