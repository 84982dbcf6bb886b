"""Syncs of the service: by schedule and on demand, as jobs, one at a time of each."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from chronoduck.assembly.capture_run import CaptureRun
from chronoduck.assembly.scheduled_work import ScheduledWork, age_seconds
from chronoduck.assembly.sync_run import SyncRun, SyncTransactions
from chronoduck.errors import DuckDBException, WriteOutcomeUnknownError
from chronoduck.service.jobs import Job, JobRegistry, Progress
from chronoduck.settings import Settings
from chronoduck.sync import SyncDeclaration, SyncFile, SyncNotFoundError, SyncSourceError
from chronoduck.sync.merging import TableSession
from chronoduck.sync.slot import Capture
from chronoduck.sync.state import SYNC_STATES, SyncState
from chronoduck.tasks.process import run_task
from chronoduck.transfer.schema import PLATFORM_TABLES, SCHEMA_STATEMENTS

__all__ = ["Syncs"]


class Syncs(ScheduledWork[SyncDeclaration, SyncState]):
    """Lives on the event loop while the database is open."""

    _kind = "sync"

    def __init__(
        self,
        settings: Settings,
        declared: SyncFile,
        transactions: SyncTransactions,
        jobs: JobRegistry,
        spool_directory: Path,
    ) -> None:
        super().__init__(declared.sync, SYNC_STATES, transactions.run, jobs, spool_directory)
        self._settings = settings
        self._sources = declared.source
        self._transactions = transactions

    @property
    def _has_states(self) -> bool:
        """A source without syncs may hold a slot of an earlier one."""
        return bool(self._sources)

    def _not_found(self, name: str, known: str) -> DuckDBException:
        known = known or "none; DUCKDB_SYNC_FILE declares them"
        return SyncNotFoundError(f"there is no sync {name}", hint=f"There are: {known}.")

    def _empty(self, name: str) -> SyncState:
        return SyncState(name)

    async def _run(self, declared: SyncDeclaration, show: Progress, **_: Any) -> dict[str, Any]:
        states = await self._known()
        await self._prepare(declared.target)
        source = self._sources[declared.source]
        state = states.get(declared.name, SyncState(declared.name))
        directory = self._spool_directory / f"{self._mark}-{declared.name}"
        kind = CaptureRun if declared.mode == "cdc" else SyncRun
        run = kind(self._settings, declared, source, state, self._transactions, directory)
        try:
            ended = states[declared.name] = await run.run(show)
        except WriteOutcomeUnknownError as error:
            # Its last transaction may be on the disk, with a later state than this process knows.
            self._states = None
            states = await self._known()
            await self._fail(states.get(declared.name, run.state), error)
            raise
        except DuckDBException as error:
            await self._fail(run.state, error)
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
            if name in self._declared:
                kept = states[name] = replace(known, capture=None, watermark=None)
                await self._transactions.run(lambda session: SYNC_STATES.save(session, kept))
            else:
                await self._transactions.run(lambda session: SYNC_STATES.forget(session, name))
                states.pop(name, None)
            return {"sync": name, "slots": [], "has_dropped_publication": False, **dropped}

        return self._jobs.start(f"sync {name}", work)

    async def _drop(self, name: str, capture: Capture, show: Progress) -> dict[str, Any]:
        async def relay(step: str, done: int, total: int) -> None:
            show(step, done, total)

        source = self._sources.get(capture.source)
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
            SYNC_STATES.prepare(session)
            for statement in SCHEMA_STATEMENTS if target in PLATFORM_TABLES else ():
                session.execute(statement)

        async with self._reading:  # two that made the schema at once would be in conflict
            await self._transactions.run(work)

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
            declared = self._declared.get(state.name)
            if state.capture is not None and (declared is None or declared.mode != "cdc"):
                found.append((state, state.capture))
        return found

    def _describe(self, declared: SyncDeclaration) -> dict[str, Any]:
        state = self._state(declared.name)
        return {
            "name": declared.name,
            "source": declared.source,
            "table": declared.table,
            "target": declared.target,
            "mode": declared.mode,
            "deletes": declared.deletes,
            **super()._describe(declared),
            "watermark": state.watermark,
            "slot": state.capture.slot if state.capture is not None else None,
            "lag_bytes": _lag(state),
            "as_of": state.as_of,
            "lag_seconds": age_seconds(state.as_of),
            "last": {
                "read": state.last_read,
                "added": state.last_added,
                "changed": state.last_changed,
                "deleted": state.last_deleted,
                "seconds": state.last_seconds,
            },
        }

    def get_status(self) -> list[dict[str, Any]]:
        """Return what health and metrics need, of a sync that has left a slot in PostgreSQL, too."""
        left = [state for state, _ in self._orphans() if state.name not in self._declared]
        return [*super().get_status(), *(self._status(each.name, each) for each in left)]

    def _status(self, name: str, state: SyncState) -> dict[str, Any]:
        return {
            **super()._status(name, state),
            "is_orphan": name in {each.name for each, _ in self._orphans()},
            "lag_seconds": age_seconds(state.as_of),
            "lag_bytes": _lag(state),
            "total_rows": state.total_rows,
        }


def _lag(state: SyncState) -> int | None:
    return None if state.capture is None else state.capture.lag_bytes
