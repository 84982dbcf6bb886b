"""Syncs of the service: by schedule and on demand, as jobs, one at a time of each."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from chronoduck.assembly.capture_run import CaptureRun
from chronoduck.assembly.schedule import Schedule
from chronoduck.assembly.sync_run import SyncRun, SyncTransactions
from chronoduck.errors import DuckDBException
from chronoduck.logs import get_logger
from chronoduck.service.jobs import Job, JobRegistry, Progress
from chronoduck.settings import Settings
from chronoduck.sync import SyncDeclaration, SyncFile, SyncNotFoundError, SyncSourceError
from chronoduck.sync.merging import TableSession
from chronoduck.sync.slot import Capture
from chronoduck.sync.state import (
    SyncState,
    forget_state,
    prepare_state,
    read_states,
    save_state,
)
from chronoduck.tasks.process import run_task
from chronoduck.transfer.schema import PLATFORM_TABLES, SCHEMA_STATEMENTS

__all__ = ["Syncs"]

_AT_ONCE = 2
"""Each reads a snapshot of PostgreSQL and has a process of its own."""
_SAVE_SECONDS = 10.0


class Syncs:
    """Lives on the event loop while the database is open."""

    def __init__(
        self,
        settings: Settings,
        declared: SyncFile,
        transactions: SyncTransactions,
        jobs: JobRegistry,
        spool_directory: Path,
    ) -> None:
        self._settings = settings
        self._declared = declared
        self._transactions = transactions
        self._jobs = jobs
        self._spool_directory = spool_directory
        self._mark = f"sync-{secrets.token_hex(4)}"
        """Of the directories of this process's runs."""
        self._states: dict[str, SyncState] | None = None
        self._reading = asyncio.Lock()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._since = datetime.now(UTC)
        self._running: dict[str, Job] = {}
        self._looking: asyncio.Task[None] | None = None
        self._schedules = {
            name: Schedule(each.schedule, _beginner(self, name))
            for name, each in declared.sync.items()
        }
        self._log = get_logger("sync")

    def start(self) -> None:
        """Begin to follow the schedules; a source without syncs may hold a slot of an earlier one."""
        if self._declared.source:
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
        for left in await asyncio.to_thread(list, self._spool_directory.glob("sync-*")):
            if not left.name.startswith(self._mark):
                await asyncio.to_thread(shutil.rmtree, left, True)
        with contextlib.suppress(DuckDBException):
            await self._known()

    async def _known(self) -> dict[str, SyncState]:
        async with self._reading:
            if self._states is None:
                self._states = await self._transactions.run(read_states)
            return self._states

    def begin(self, name: str) -> Job:
        """Begin a sync.

        Raises:
            SyncNotFoundError: there is none of that name.
            JobConflictError: it runs.
        """
        declared = self._find(name)

        async def work(show: Progress) -> dict[str, Any]:
            show("waiting for other syncs", 0, 0)
            async with self._places:
                return await self._run(declared, show)

        job = self._running[name] = self._jobs.start(f"sync {name}", work)
        return job

    def names(self, wanted: Sequence[str] = ()) -> list[str]:
        """Return the declared ones, or those that are wanted.

        Raises:
            SyncNotFoundError: one is not declared.
        """
        return [self._find(name).name for name in wanted] or list(self._declared.sync)

    def _find(self, name: str) -> SyncDeclaration:
        if name not in self._declared.sync:
            known = ", ".join(self._declared.sync) or "none; DUCKDB_SYNC_FILE declares them"
            raise SyncNotFoundError(f"there is no sync {name[:60]}", hint=f"There are: {known}.")
        return self._declared.sync[name]

    async def _run(self, declared: SyncDeclaration, show: Progress) -> dict[str, Any]:
        states = await self._known()
        await self._prepare(declared.target)
        source = self._declared.source[declared.source]
        state = states.get(declared.name, SyncState(declared.name))
        directory = self._spool_directory / f"{self._mark}-{declared.name}"
        kind = CaptureRun if declared.mode == "cdc" else SyncRun
        run = kind(self._settings, declared, source, state, self._transactions, directory)
        try:
            ended = states[declared.name] = await run.run(show)
        except DuckDBException as error:
            told = {"code": error.code, "detail": error.detail, "hint": error.hint}
            failed = run.state.failed(told, datetime.now(UTC).isoformat(timespec="milliseconds"))
            states[declared.name] = failed
            await self._save(failed)
            raise
        except asyncio.CancelledError:
            states[declared.name] = run.state
            raise
        return {
            "sync": declared.name,
            "target": declared.target,
            "read": ended.last_read,
            "added": ended.last_added,
            "changed": ended.last_changed,
            "deleted": ended.last_deleted,
            "watermark": ended.watermark,
            "as_of": ended.as_of,
            "seconds": ended.last_seconds,
            "notes": list(ended.notes),
        }

    async def drop(self, name: str, *, forget: bool = False) -> Job:
        """Begin to drop the slot and the publication that a sync has in PostgreSQL.

        A declared one begins anew at its next run. ``forget``: only no longer know of them, when
        the source is no more.

        Raises:
            SyncNotFoundError: it has none.
            JobConflictError: it runs.
        """
        states = await self._known()
        state = states.get(name)
        if state is None or state.capture is None:
            raise SyncNotFoundError(
                f"sync {name[:60]} has no slot in PostgreSQL",
                hint="`chronoduck sync status` names those that have.",
            )
        known, capture = state, state.capture

        async def work(show: Progress) -> dict[str, Any]:
            dropped = {} if forget else await self._drop(name, capture, show)
            if name in self._declared.sync:
                kept = states[name] = replace(known, capture=None, watermark=None)
                await self._transactions.run(lambda session: save_state(session, kept))
            else:
                await self._transactions.run(lambda session: forget_state(session, name))
                states.pop(name, None)
            return {"sync": name, "slots": [], "has_dropped_publication": False, **dropped}

        return self._jobs.start(f"sync {name}", work)

    async def _drop(self, name: str, capture: Capture, show: Progress) -> dict[str, Any]:
        async def relay(step: str, done: int, total: int) -> None:
            show(step, done, total)

        source = self._declared.source.get(capture.source)
        if source is None:
            slots = ", ".join((capture.slot, *capture.old_slots))
            raise SyncSourceError(
                f"the source {capture.source} of sync {name} is not declared any more",
                hint="Declare it again. Or run SELECT pg_drop_replication_slot(...) there for "
                f"{slots}, and then `chronoduck sync drop {name} --forget`.",
            )
        return await run_task(
            self._settings,
            "drop_capture",
            relay,
            source=source.model_dump(mode="json"),
            capture=capture.as_dict(),
        )

    async def _prepare(self, target: str) -> None:
        """Make what the service itself defines: the platform's tables have columns of loads, too."""

        def work(session: TableSession) -> None:
            prepare_state(session)
            for statement in SCHEMA_STATEMENTS if target in PLATFORM_TABLES else ():
                session.execute(statement)

        async with self._reading:  # two that made the schema at once would be in conflict
            await self._transactions.run(work)

    async def _save(self, state: SyncState) -> None:
        """Keep a failure over a restart; what failed may be the database itself."""
        try:
            async with asyncio.timeout(_SAVE_SECONDS):
                await self._transactions.run(lambda session: save_state(session, state))
        except (DuckDBException, TimeoutError) as error:
            self._log.warning("sync_state_not_saved", sync=state.name, reason=str(error))

    async def describe(self) -> list[dict[str, Any]]:
        """Return what ``GET sync`` shows of each."""
        if self._declared.sync:
            await self._known()
        return [self._describe(each) for each in self._declared.sync.values()]

    async def orphans(self) -> list[dict[str, Any]]:
        """Return the slots of syncs that are no longer ``cdc``: PostgreSQL keeps its log for them."""
        await self._known()
        return [
            {
                "sync": state.name,
                "source": capture.source,
                "slot": capture.slot,
                "publication": capture.publication,
                "lag_bytes": capture.lag_bytes,
                "hint": f"`chronoduck sync drop {state.name}` drops it.",
            }
            for state, capture in self._orphans()
        ]

    def _orphans(self) -> list[tuple[SyncState, Capture]]:
        found = []
        for state in (self._states or {}).values():
            declared = self._declared.sync.get(state.name)
            if state.capture is not None and (declared is None or declared.mode != "cdc"):
                found.append((state, state.capture))
        return found

    def _describe(self, declared: SyncDeclaration) -> dict[str, Any]:
        state = (self._states or {}).get(declared.name, SyncState(declared.name))
        next_at = self._schedules[declared.name].next_at
        job = self._running.get(declared.name)
        return {
            "name": declared.name,
            "source": declared.source,
            "table": declared.table,
            "target": declared.target,
            "mode": declared.mode,
            "deletes": declared.deletes,
            "schedule": declared.schedule,
            "next_at": None if next_at is None else next_at.isoformat(),
            "job": job.id if job is not None and not job.has_ended else None,
            "watermark": state.watermark,
            "slot": state.capture.slot if state.capture is not None else None,
            "lag_bytes": _lag(state),
            "as_of": state.as_of,
            "lag_seconds": _age(state.as_of),
            "last_run_at": state.last_run_at,
            "last_success_at": state.last_success_at,
            "last": {
                "read": state.last_read,
                "added": state.last_added,
                "changed": state.last_changed,
                "deleted": state.last_deleted,
                "seconds": state.last_seconds,
            },
            "failures": state.failures,
            "error": state.error,
            "notes": list(state.notes),
        }

    def get_status(self) -> list[dict[str, Any]]:
        """Return what health and metrics need of each; no words of PostgreSQL are in it.

        Of a sync that has left a slot in PostgreSQL, too.
        """
        orphans = {state.name for state, _ in self._orphans()}
        return [
            {
                "name": name,
                "is_orphan": name in orphans,
                "is_running": (job := self._running.get(name)) is not None and not job.has_ended,
                "last_success_at": state.last_success_at,
                "lag_seconds": _age(state.as_of),
                "lag_bytes": _lag(state),
                "failures": state.failures,
                "error": state.error["code"] if state.error else "",
                "is_overdue": self._is_overdue(name, state),
                "runs": state.runs,
                "total_failures": state.total_failures,
                "total_rows": state.total_rows,
                "seconds": state.last_seconds,
            }
            for name in [*self._declared.sync, *sorted(orphans - set(self._declared.sync))]
            for state in [(self._states or {}).get(name, SyncState(name))]
        ]

    def _is_overdue(self, name: str, state: SyncState) -> bool:
        """Whether two of the schedule's times have passed without a success."""
        schedule = self._schedules.get(name)
        interval = None if schedule is None else schedule.interval_seconds
        if interval is None:
            return False
        last = self._since
        if state.last_success_at is not None:
            last = max(last, datetime.fromisoformat(state.last_success_at))
        return datetime.now(UTC) - last > timedelta(seconds=2 * interval + 60)


def _beginner(syncs: Syncs, name: str) -> Any:
    return lambda: syncs.begin(name)


def _lag(state: SyncState) -> int | None:
    return None if state.capture is None else state.capture.lag_bytes


def _age(moment: str | None) -> float | None:
    if moment is None:
        return None
    return round(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()), 3)
