"""One run of an export into an index: what changed, or all of it beside the old one and then swapped.

What is certain after a crash at any moment: ``_begin`` waits for what was under way, and the state
that is kept before each step tells which of the two indexes is whose.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from chronoduck.export.declaration import IndexDeclaration
from chronoduck.export.failures import ExportConflictError, ExportDataError
from chronoduck.export.meilisearch.selection import ID, Selection
from chronoduck.export.meilisearch.server import SearchServer
from chronoduck.export.meilisearch.spool import Spool
from chronoduck.export.meilisearch.upload import Progress, Upload
from chronoduck.export.state import ExportState

__all__ = ["Indexing", "ReadRows"]

_AMONG_AT_ONCE = 50_000


class ReadRows(Protocol):
    """Runs a selection of a query by the rules of any reader; ``take`` gets rows in a worker thread."""

    async def __call__(
        self,
        selection: Selection,
        take: Callable[[pa.RecordBatch, bytes], None],
        params: dict[str, Any] | None = None,
    ) -> None: ...


class Indexing:
    """``state`` is what is kept, after every step."""

    def __init__(
        self,
        declared: IndexDeclaration,
        server: SearchServer,
        state: ExportState,
        read: ReadRows,
        save: Callable[[ExportState], Awaitable[None]],
        directory: Path,
        show: Progress,
    ) -> None:
        self._declared = declared
        self._server = server
        self._read = read
        self._save = save
        self._directory = directory
        self._show = show
        self._new = f"{declared.uid}_new"
        self._fingerprint = declared.fingerprint(server.declared)
        self._notes: list[str] = []
        self._sent = self._deleted = 0
        self.state = state

    async def run(self, *, rebuild: bool) -> ExportState:
        """Return the state after the run; it is for the caller to keep.

        Raises:
            ExportConflictError: an index of that name is not this export's.
            ExportDataError: rows that cannot be documents.
            ExportServerError: Meilisearch is away or refuses.
            ExportTaskError: Meilisearch failed at some work.
        """
        has_index = await self._begin()
        state = self.state
        is_known = has_index and state.fingerprint == self._fingerprint
        if rebuild or self._declared.mode == "rebuild" or not is_known:
            how = "rebuild"
            await self._rebuild(is_there=has_index)
        else:
            how = "changes"
            await self._change()
        documents = await self._server.count(self._declared.uid)
        return self.state.ended(
            sent=self._sent,
            deleted=self._deleted,
            documents=documents,
            last_how=how,
            notes=tuple(self._notes),
        )

    async def _begin(self) -> bool:
        """Finish what a run that was killed had begun, and return whether the index is there.

        Raises:
            ExportConflictError: an index of that name is not this export's.
        """
        self._show("connecting", 0, 0)
        index, new, server = self._declared.uid, self._new, self._server
        await server.settle([index, new])
        made_at, new_made_at = await server.made_at(index), await server.made_at(new)
        pending = self.state.pending
        if pending is not None:
            is_swapped = made_at is not None and made_at == pending["made_at"]
            self.state = self.state.swapped() if is_swapped else replace(self.state, pending=None)
            await self._save(self.state)
        is_ours = made_at is None or made_at == self.state.made_at
        if not is_ours and not self._declared.take_over:
            raise self._not_ours(index)
        if new_made_at is not None:
            if not self.state.is_building and not self._declared.take_over:
                raise self._not_ours(new)
            await server.delete(new)
        return made_at is not None

    def _not_ours(self, index: str) -> ExportConflictError:
        return ExportConflictError(
            f"index {index} of Meilisearch at {self._server.declared.url} was not made by export "
            f"{self._declared.name}, which would replace or delete it",
            hint="Choose another index, delete that one, or say take_over = true.",
        )

    # --- all of it ----------------------------------------------------------------------------

    async def _rebuild(self, *, is_there: bool) -> None:
        declared, server, new = self._declared, self._server, self._new
        spool = await self._spool(Selection(declared, datetime.now(UTC)))
        self.state = replace(self.state, is_building=True)
        await self._save(self.state)
        made_at = await server.create(new, declared.primary_key)
        try:
            if declared.settings:
                await server.set_settings(new, declared.settings)
            await self._upload(new, spool)
            await self._check_count(new, spool.documents)
        except ExportDataError:
            await server.delete(new)
            raise
        pending = {
            "fingerprint": self._fingerprint,
            "watermark": None if spool.top is None else str(spool.top),
            "made_at": made_at,
        }
        self.state = replace(self.state, pending=pending)
        await self._save(self.state)
        self._show("swapping", 0, 0)
        await server.swap(declared.uid, new, made_at, is_there=is_there)
        self.state = self.state.swapped()
        await self._save(self.state)
        await server.delete(new)
        self.state = replace(self.state, is_building=False)

    async def _check_count(self, index: str, expected: int) -> None:
        """Refuse to show an index that does not hold a document for every row."""
        count = await self._server.count(index)
        if count != expected:
            raise ExportDataError(
                f"export {self._declared.name}: {expected:,} rows became {count:,} documents: the key "
                f"{', '.join(self._declared.key)} is not unique. The old index was kept.",
                hint="Name columns that are unique together, or group by them in the query.",
            )

    # --- what changed -------------------------------------------------------------------------

    async def _change(self) -> None:
        declared, uid = self._declared, self._declared.uid
        now, since = datetime.now(UTC), self.state.watermark
        if since is not None and int(since) > now.timestamp() * 1e6:
            # The clock was ahead in an earlier run and was set back: what changed since lies before.
            since = None
            self._notes.append("the clock was set back since the last run: all rows were sent")
        selection = Selection(declared, now, since=since)
        spool = await self._spool(selection)
        await self._upload(uid, spool)
        if declared.deletes == "key-diff":
            await self._compare(selection)
        top = [int(each) for each in (since, spool.top) if each is not None]
        watermark = str(max(top)) if top else None
        self.state = replace(self.state, watermark=watermark, is_building=False)

    async def _compare(self, selection: Selection) -> None:
        """Make the index's ids those of the query: delete what is too many, send what is missing."""
        declared, uid = self._declared, self._declared.uid
        keys: list[pa.Array] = []
        ids_only = replace(selection, since=None, ids_only=True)
        await self._read(ids_only, lambda rows, _: keys.append(rows.column(ID)))
        self._show("reading the index's ids", 0, 0)
        held = [pa.array(page) async for page in self._server.ids(uid, declared.primary_key)]
        wanted = pa.chunked_array(keys, pa.string())
        there = pa.chunked_array(held, pa.string())
        too_many, missing = await asyncio.to_thread(
            lambda: (_without(there, wanted), _without(wanted, there))
        )
        upload = Upload(self._server, uid, declared.primary_key, self._show, len(too_many))
        await upload.delete(too_many)
        await upload.finish()
        self._deleted += len(too_many)
        for start in range(0, len(missing), _AMONG_AT_ONCE):
            part = missing[start : start + _AMONG_AT_ONCE]
            among = replace(selection, since=None, among=True)
            await self._upload(uid, await self._spool(among, {"ids": part}))
        if missing:
            self._notes.append(
                f"{len(missing):,} documents were missing though {declared.cursor} had not told of "
                "them; the comparison of the keys found them"
            )

    # --- both ---------------------------------------------------------------------------------

    async def _spool(self, selection: Selection, params: dict[str, Any] | None = None) -> Spool:
        spool = Spool(self._directory, self._declared, self._server.declared.batch_size)
        await self._read(selection, spool.add, params)
        await asyncio.to_thread(spool.finish)
        return spool

    async def _upload(self, index: str, spool: Spool) -> None:
        total = spool.documents + len(spool.deleted)
        upload = Upload(self._server, index, self._declared.primary_key, self._show, total)
        await upload.send(spool.pieces)
        if index == self._declared.uid:  # one that is being built holds none of them
            await upload.delete(spool.deleted)
            self._deleted += len(spool.deleted)
        await upload.finish()
        self._sent += spool.documents


def _without(ids: pa.ChunkedArray, others: pa.ChunkedArray) -> list[str]:
    """Return the ids that are not among the others."""
    found: list[str] = ids.filter(pc.invert(pc.is_in(ids, value_set=others))).to_pylist()
    return found
