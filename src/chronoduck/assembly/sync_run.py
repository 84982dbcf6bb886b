"""One run of a sync: a process reads the source, this one merges what it wrote, and remembers."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from chronoduck.engine.database import Connection
from chronoduck.engine.execution import SqlSession, transaction
from chronoduck.errors import DuckDBQueryError, TransactionConflictError
from chronoduck.service.jobs import Progress
from chronoduck.service.queries import Queries
from chronoduck.service.records import Caller
from chronoduck.service.runner import StatementRunner
from chronoduck.settings import Settings
from chronoduck.sql.statements import Statement
from chronoduck.sync import SourceDeclaration, SyncDataError, SyncDeclaration, SyncDriftError
from chronoduck.sync.merging import (
    Merged,
    TableSession,
    alters,
    check_target_key,
    delete_missing,
    describe,
    has_rows,
    merge,
)
from chronoduck.sync.merging import (
    replace as replace_rows,
)
from chronoduck.sync.spool import Manifest, Piece, Spool
from chronoduck.sync.state import SYNC_STATES, SyncState
from chronoduck.sync.target import TargetPlan, plan_target, split_name
from chronoduck.tasks.process import Relay, run_task

__all__ = ["SyncRun", "SyncTransactions"]

T = TypeVar("T")
Read = Callable[..., Awaitable[dict[str, Any]]]
"""Does what ``tasks/work.py`` calls ``read_source``: gets settings, name, relay and arguments."""
_CALLER = Caller("sync")
_LABEL = Statement(
    text="-- sync from PostgreSQL",
    kind="load",
    parameter_names=frozenset(),
    query_hash="",
    leaves_state=True,
    is_label=True,
)
_ATTEMPTS = 3
"""Of a transaction that meets others on the same rows."""


class SyncTransactions:
    """Runs functions of several statements like other writers' transactions, with a job's deadline."""

    def __init__(self, runner: StatementRunner, queries: Queries) -> None:
        self._runner = runner
        self._queries = queries

    async def run(self, work: Callable[[TableSession], T]) -> T:
        """Return what the function returns, once that is committed; it may be called several times."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                return await self._run_once(work)
            except TransactionConflictError:
                if not left:
                    raise
        raise AssertionError("unreachable")

    async def _run_once(self, work: Callable[[TableSession], T]) -> T:
        opened = self._runner.open(_LABEL, _CALLER, is_job=True)

        def step(connection: Connection) -> T:
            session = opened.session
            with transaction(connection, session.token, session.commits):
                return work(SqlSession(connection, session.token, session.commits))

        try:
            result = await opened.session.run(step)
        except BaseException as error:
            opened.end(error)
            raise
        opened.end(None)
        return result

    async def alter(self, sql: str) -> None:
        """Run an ALTER, while nobody else writes."""
        await self._queries.execute(sql, caller=_CALLER)


class SyncRun:
    """Reads and merges once; ``state`` is what is committed, after every transaction."""

    def __init__(
        self,
        settings: Settings,
        declared: SyncDeclaration,
        source: SourceDeclaration,
        state: SyncState,
        transactions: SyncTransactions,
        directory: Path,
        read: Read = run_task,
    ) -> None:
        self._read = read
        self._settings = settings
        self._declared = declared
        self._source = source
        self._transactions = transactions
        self._spool = Spool(directory)
        self._watermark: str | None = None
        """Where this run began; None: at the first row."""
        self._plan: TargetPlan | None = None
        self._notes: tuple[str, ...] = ()
        self._merged = Merged()
        self._adds_to_rows = False
        """The target has rows already, so that the first run has to look for each key."""
        self._checks_key = False
        """Rows that are replaced whole must have a key, and the source does not see to it."""
        self.state = state

    async def run(self, show: Progress) -> SyncState:
        """Return the state after the run, which is committed.

        What was merged before an error or a cancellation stays, and the watermark tells of it: the
        next run goes on there.

        Raises:
            TaskFailedError: the source failed; its ``code`` tells how.
            SyncDriftError: source and target do not fit.
            SyncDataError: the target cannot hold a row.
        """
        await asyncio.to_thread(self._spool.directory.mkdir, mode=0o700)
        try:
            return await self._run(show)
        finally:
            remove = asyncio.to_thread(shutil.rmtree, self._spool.directory, True)
            await asyncio.shield(remove)

    async def _run(self, show: Progress) -> SyncState:
        started = time.monotonic()
        self._watermark = await self._known_watermark()

        async def relay(step: str, done: int, total: int) -> None:
            show(step, done, total)
            await self._take_ready()

        found = await self._read_all(relay)
        await self._take_ready()
        show("merging", found["rows"], found["rows"])
        await self._finish(found)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        assert self._plan is not None  # noqa: S101 - the manifest was there
        state = self.state.ended(
            self._merged,
            as_of=found["as_of"],
            last_run_at=now,
            last_success_at=now,
            last_seconds=round(time.monotonic() - started, 3),
            last_read=found["rows"],
            notes=(*self._notes, *self._plan.notes),
        )
        await self._transact(lambda session: SYNC_STATES.save(session, state))
        self.state = state
        return state

    async def _read_all(self, relay: Relay) -> dict[str, Any]:
        """Have the source read to its end, and return what the reader found."""
        return await self._read(
            self._settings,
            "read_source",
            relay,
            sync=self._declared.model_dump(mode="json"),
            source=self._source.model_dump(mode="json"),
            directory=str(self._spool.directory),
            watermark=self._watermark,
        )

    async def _known_watermark(self) -> str | None:
        """Return how far the rows in the target go; None if they are gone or of other columns."""
        state, declared = self.state, self._declared
        if declared.mode == "full" or state.fingerprint != declared.fingerprint:
            return None
        schema, table = split_name(declared.target)
        existing = await self._transactions.run(lambda session: describe(session, schema, table))
        return None if existing is None else state.watermark

    async def _take_ready(self) -> None:
        """Merge what has been written; the first run waits for the last row."""
        if self._plan is None:
            manifest = await asyncio.to_thread(self._spool.read_manifest)
            if manifest is None:
                return
            self._notes += manifest.notes
            self._plan = await self._prepare(manifest)
        if self._watermark is not None:
            for piece in await asyncio.to_thread(self._spool.take_rows):
                await self._merge(self._plan, piece, piece.watermark)

    async def _prepare(self, manifest: Manifest) -> TargetPlan:
        """Decide what goes where, and add the columns that are new."""
        declared, state = self._declared, self.state
        is_known = state.fingerprint == declared.fingerprint

        def look(session: TableSession) -> tuple[TargetPlan, bool, list[str]]:
            existing = describe(session, *split_name(declared.target))
            known = state.columns if is_known and existing is not None else None
            plan = plan_target(declared, manifest.columns, existing, known)
            adds_to_rows = plan.create is None and has_rows(session, plan)
            return plan, adds_to_rows, alters(session, plan)

        plan, self._adds_to_rows, changes = await self._transactions.run(look)
        deletes = declared.mode != "incremental" or declared.deletes == "key-diff"
        is_strange = state.target != declared.target and not declared.constants
        if self._adds_to_rows and self._watermark is None and deletes and is_strange:
            raise SyncDriftError(
                f"sync {declared.name}: {declared.target} holds rows that are not of this sync, and "
                "they would be deleted",
                hint="Sync into a table of its own, empty that one, or mark the sync's rows by "
                "constants.",
            )
        for sql in changes:
            await self._transactions.alter(sql)
        names = tuple(column.name for column in manifest.columns)
        self.state = replace(
            self.state,
            columns=names,
            target=declared.target,
            fingerprint=declared.fingerprint,
            watermark=self._watermark,
        )
        return plan

    async def _finish(self, found: dict[str, Any]) -> None:
        """Do what can be done only once everything was read."""
        plan, declared, watermark = self._plan, self._declared, found["watermark"]
        assert plan is not None  # noqa: S101 - the manifest was there
        if self._watermark is None:
            pieces = await asyncio.to_thread(self._spool.take_rows)
            if declared.mode == "full" or not self._adds_to_rows:
                await self._replace(plan, pieces, replace(self.state, watermark=watermark))
            else:
                for piece in pieces:
                    await self._merge(plan, piece, None)
        if declared.deletes == "key-diff":
            keys = await asyncio.to_thread(self._spool.take_keys)
            self._merged += await self._transact(
                lambda session: delete_missing(session, plan, keys)
            )
        self.state = replace(self.state, watermark=watermark)

    async def _replace(self, plan: TargetPlan, pieces: list[Piece], state: SyncState) -> None:
        def work(session: TableSession) -> Merged:
            merged = replace_rows(session, plan, [piece.table for piece in pieces])
            if self._checks_key:
                check_target_key(session, plan)
            SYNC_STATES.save(session, state)
            return merged

        self._merged += await self._transact(work)
        self.state = state

    async def _merge(self, plan: TargetPlan, piece: Piece, watermark: str | None) -> None:
        state = replace(self.state, watermark=watermark)

        def work(session: TableSession) -> Merged:
            merged = merge(session, plan, piece.table)
            SYNC_STATES.save(session, state)
            return merged

        self._merged += await self._transact(work)
        self.state = state
        await asyncio.to_thread(piece.path.unlink)

    async def _transact(self, work: Callable[[TableSession], T]) -> T:
        """Run it; say what a value that does not fit means."""
        try:
            return await self._transactions.run(work)
        except DuckDBQueryError as error:
            if type(error) is not DuckDBQueryError:
                raise
            raise SyncDataError(
                f"sync {self._declared.name}: {error.detail}",
                hint="Nothing of these rows was taken. Give the column another type: "
                "types = {...} for a new table, ALTER TABLE for one that is there.",
            ) from error
