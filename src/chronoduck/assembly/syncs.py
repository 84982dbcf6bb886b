"""Syncs of the service: by schedule and on demand, as jobs, one at a time of each."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from chronoduck.assembly.scheduled_work import ScheduledWork, age_seconds
from chronoduck.assembly.sync_run import SyncRun, SyncTransactions
from chronoduck.errors import DuckDBException
from chronoduck.service.jobs import JobRegistry, Progress
from chronoduck.settings import Settings
from chronoduck.sync import SyncDeclaration, SyncFile, SyncNotFoundError
from chronoduck.sync.merging import TableSession
from chronoduck.sync.state import SYNC_STATES, SyncState
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
        run = SyncRun(self._settings, declared, source, state, self._transactions, directory)
        try:
            ended = states[declared.name] = await run.run(show)
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

    async def _prepare(self, target: str) -> None:
        """Make what the service itself defines: the platform's tables have columns of loads, too."""

        def work(session: TableSession) -> None:
            SYNC_STATES.prepare(session)
            for statement in SCHEMA_STATEMENTS if target in PLATFORM_TABLES else ():
                session.execute(statement)

        async with self._reading:  # two that made the schema at once would be in conflict
            await self._transactions.run(work)

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

    def _status(self, name: str, state: SyncState) -> dict[str, Any]:
        return {
            **super()._status(name, state),
            "lag_seconds": age_seconds(state.as_of),
            "total_rows": state.total_rows,
        }
