"""One run of a cdc sync: what PostgreSQL's log tells, in one transaction with the place it reaches."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa

from chronoduck.assembly.sync_run import SyncRun
from chronoduck.errors import DuckDBException
from chronoduck.logs import get_logger
from chronoduck.service.jobs import Progress
from chronoduck.sync import SyncDriftError
from chronoduck.sync.merging import (
    Merged,
    TableSession,
    apply_changes,
    delete_missing,
    describe,
    merge,
)
from chronoduck.sync.publication import default_publication
from chronoduck.sync.slot import Capture
from chronoduck.sync.spool import Piece
from chronoduck.sync.state import SYNC_STATES, SyncState
from chronoduck.sync.target import TargetPlan, split_name
from chronoduck.tasks.process import Relay

__all__ = ["CaptureRun"]

_log = get_logger("sync")


class CaptureRun(SyncRun):
    """Nothing is merged before everything was read: what is committed is one snapshot of the source."""

    _is_whole = True

    async def run(self, show: Progress) -> SyncState:
        """Return the state after the run, and have PostgreSQL give up the log that is here.

        Dying in between costs nothing: the next run gives it up first.
        """
        try:
            state = await super().run(show)
        except DuckDBException:
            with suppress(DuckDBException):  # the first error is the one to tell of
                await self._measure(None)
            raise
        with suppress(DuckDBException):
            await self._measure(state.watermark)
            await self._transactions.run(lambda session: SYNC_STATES.save(session, self.state))
        return self.state

    async def _measure(self, lsn: str | None) -> None:
        """Note how much of the log is kept; what is before the place may go."""
        capture = self.state.capture
        if capture is None:
            return
        found = await self._read(
            self._settings,
            "release_log",
            _nobody,
            source=self._source.model_dump(mode="json"),
            capture=capture.as_dict(),
            lsn=lsn,
        )
        self.state = replace(self.state, capture=replace(capture, lag_bytes=found["lag_bytes"]))

    async def _known_watermark(self) -> str | None:
        capture = self.state.capture
        if capture is None:
            return None
        if capture.source != self._declared.source:
            raise SyncDriftError(
                f"sync {self._declared.name} has the slot {capture.slot} in the source "
                f"{capture.source}, where PostgreSQL keeps its log for it",
                hint=f"Run `chronoduck sync drop {self._declared.name}` first.",
            )
        if capture.publication != self._publication:
            return None
        return await super()._known_watermark()

    @property
    def _publication(self) -> str:
        return self._declared.publication or default_publication(self._declared.name)

    async def _read_all(self, relay: Relay) -> dict[str, Any]:
        if self._watermark is not None:
            found = await self._capture(relay)
            reason = found.get("begin_anew")
            if reason is None:
                return found
            _log.warning("sync_begins_anew", sync=self._declared.name, reason=reason)
            self._notes += (f"it began anew with the whole table: {reason}",)
            self._watermark = None
        await self._reset()
        return await self._capture(relay)

    async def _capture(self, relay: Relay) -> dict[str, Any]:
        capture = self.state.capture
        assert capture is not None  # noqa: S101 - the state was reset, or has one
        return await self._read(
            self._settings,
            "capture_source",
            relay,
            sync=self._declared.model_dump(mode="json"),
            source=self._source.model_dump(mode="json"),
            directory=str(self._spool.directory),
            capture=capture.as_dict(),
            lsn=self._watermark,
        )

    async def _reset(self) -> None:
        """Keep the name of a new slot before it is made: whoever dies then leaves none unknown.

        Another name each time: of two services that a backup was restored in, each has its own.
        """
        before, name = self.state.capture, self._declared.name.replace("-", "_")
        slot = f"chronoduck_{name[:40]}_{secrets.token_hex(4)}"
        old = () if before is None else (before.slot, *before.old_slots)
        capture = Capture(self._declared.source, slot, self._publication, old)
        state = self.state = replace(self.state, capture=capture, watermark=None)
        await self._transactions.run(lambda session: SYNC_STATES.save(session, state))

    async def _take_ready(self) -> None:
        """Only prepare the table: rows are merged at the end."""
        if self._plan is not None:
            return
        manifest = await asyncio.to_thread(self._spool.read_manifest)
        if manifest is not None:
            self._notes += manifest.notes
            self._is_whole = manifest.watermark is None
            self._plan = await self._prepare(manifest)

    async def _finish(self, found: dict[str, Any]) -> None:
        plan = self._plan
        assert plan is not None  # noqa: S101 - the manifest was there
        self._notes += tuple(each for each in found["notes"] if each not in self._notes)
        state = replace(self.state, watermark=found["lsn"], capture=Capture.of(found["capture"]))
        if not self._is_whole:
            await self._commit(plan, state)
        elif self._adds_to_rows and await self._has_other_columns(plan):
            await self._commit_whole(plan, await asyncio.to_thread(self._spool.take_rows), state)
        else:
            self._checks_key = not found["is_keyed"]
            await self._replace(plan, await asyncio.to_thread(self._spool.take_rows), state)
        self.state = state

    async def _has_other_columns(self, plan: TargetPlan) -> bool:
        """Whether rows hold what the sync does not know and a replaced row would lose."""
        where = split_name(self._declared.target)
        existing = await self._transactions.run(lambda session: describe(session, *where))
        known = {each.name for each in plan.columns} | {name for name, _ in plan.constants}
        return any(name not in known for name, _ in existing or ())

    async def _commit(self, plan: TargetPlan, state: SyncState) -> None:
        rounds = await asyncio.to_thread(self._spool.take_rounds)

        def work(session: TableSession) -> Merged:
            merged = Merged()
            for keys, rows in rounds:
                merged += apply_changes(session, plan, keys, rows)
            SYNC_STATES.save(session, state)
            return merged

        self._merged += await self._transact(work)

    async def _commit_whole(self, plan: TargetPlan, rows: list[Piece], state: SyncState) -> None:
        def work(session: TableSession) -> Merged:
            table = _table(rows)
            if table is None:
                merged = delete_missing(session, plan, None)
            else:
                keys = table.select([each.source for each in plan.key])
                merged = delete_missing(session, plan, keys) + merge(session, plan, table)
            SYNC_STATES.save(session, state)
            return merged

        self._merged += await self._transact(work)


def _table(pieces: list[Piece]) -> pa.Table | None:
    return pa.concat_tables([each.table for each in pieces]) if pieces else None


async def _nobody(step: str, done: int, total: int) -> None:
    """Hear of progress that nobody waits for."""
