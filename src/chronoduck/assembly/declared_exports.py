"""Exports of the service that a file declares: by schedule and on demand, as jobs."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from chronoduck.assembly.exported_files import FilesRun
from chronoduck.assembly.scheduled_work import ScheduledWork, Transact
from chronoduck.errors import DuckDBException
from chronoduck.export import (
    ExportFile,
    ExportNotFoundError,
    FilesDeclaration,
    IndexDeclaration,
)
from chronoduck.export.meilisearch.indexing import Indexing
from chronoduck.export.meilisearch.selection import BOOKKEEPING, Selection
from chronoduck.export.meilisearch.server import open_server
from chronoduck.export.state import EXPORT_STATES, ExportState
from chronoduck.principals import OPERATORS_ID, Principal, Role
from chronoduck.service.documents import DocumentQueries
from chronoduck.service.exports import Exports
from chronoduck.service.jobs import JobRegistry, Progress
from chronoduck.service.records import Caller

__all__ = ["DeclaredExports"]

_READER = Caller("export", principal=Principal("export", Role.ANALYST, OPERATORS_ID))
"""Declared queries may do what any reader's may, and no more."""


Declaration = IndexDeclaration | FilesDeclaration


class DeclaredExports(ScheduledWork[Declaration, ExportState]):
    """Lives on the event loop while the database is open."""

    _kind = "export"

    def __init__(
        self,
        declared: ExportFile,
        transact: Transact,
        documents: DocumentQueries,
        exports: Exports,
        jobs: JobRegistry,
        spool_directory: Path,
    ) -> None:
        super().__init__(declared.exports, EXPORT_STATES, transact, jobs, spool_directory)
        self._servers = declared.meilisearch
        self._documents = documents
        self._exports = exports

    def _not_found(self, name: str, known: str) -> DuckDBException:
        known = known or "none; DUCKDB_EXPORT_FILE declares them"
        return ExportNotFoundError(f"there is no export {name}", hint=f"There are: {known}.")

    def _empty(self, name: str) -> ExportState:
        return ExportState(name)

    async def _run(
        self, declared: Declaration, show: Progress, *, rebuild: bool = False, **_: Any
    ) -> dict[str, Any]:
        if isinstance(declared, FilesDeclaration):
            return await self._run_files(declared, show)
        return await self._run_index(declared, show, rebuild=rebuild)

    async def _run_files(self, declared: FilesDeclaration, show: Progress) -> dict[str, Any]:
        await self._known()
        await self._prepare()
        state = self._state(declared.name)
        try:
            return await FilesRun(
                declared, self._exports, self._jobs, _READER, self._keep, show
            ).run(state)
        except DuckDBException as error:
            await self._fail(self._state(declared.name), error)
            raise

    async def _run_index(
        self, declared: IndexDeclaration, show: Progress, *, rebuild: bool
    ) -> dict[str, Any]:
        states = await self._known()
        await self._prepare()
        started, directory = (
            time.monotonic(),
            self._spool_directory / f"{self._mark}-{declared.name}",
        )
        await asyncio.to_thread(directory.mkdir, mode=0o700)
        state = self._state(declared.name)
        indexing: Indexing | None = None
        try:
            server = self._servers[declared.meilisearch]
            async with open_server(server, lambda what: show(what, 0, 0)) as opened:
                read = self._reader(declared, show)
                indexing = Indexing(declared, opened, state, read, self._keep, directory, show)
                ended = await indexing.run(rebuild=rebuild)
                now = datetime.now(UTC).isoformat(timespec="milliseconds")
                seconds = round(time.monotonic() - started, 3)
                ended = ended.timed(now, seconds)
                await self._keep(ended)
        except DuckDBException as error:
            await self._fail(state if indexing is None else indexing.state, error)
            raise
        except asyncio.CancelledError:
            states[declared.name] = state if indexing is None else indexing.state
            raise
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, directory, True))
        return _told(declared, ended)

    async def _prepare(self) -> None:
        async with self._reading:  # two that made the schema at once would be in conflict
            await self._transact(self._table.prepare)

    async def _keep(self, state: ExportState) -> None:
        await self._transact(lambda session: self._table.save(session, state))
        (await self._known())[state.name] = state

    def _reader(self, declared: IndexDeclaration, show: Progress) -> Any:
        async def read(
            selection: Selection,
            take: Callable[[pa.RecordBatch, bytes], None],
            params: dict[str, Any] | None = None,
        ) -> None:
            await self._documents.read(
                declared.query,
                selection.sql,
                take,
                apart=1 if selection.ids_only else len(BOOKKEEPING),
                params=params,
                caller=_READER,
                show=show,
            )

        return read

    def _describe(self, declared: Declaration) -> dict[str, Any]:
        state = self._state(declared.name)
        return {
            "name": declared.name,
            **self._facts(declared),
            **super()._describe(declared),
            "watermark": state.watermark,
            "documents": state.documents,
            "last": {
                "how": state.last_how,
                "sent": state.last_sent,
                "deleted": state.last_deleted,
                "seconds": state.last_seconds,
            },
        }

    def _facts(self, declared: Declaration) -> dict[str, Any]:
        if isinstance(declared, FilesDeclaration):
            return {
                "kind": "files",
                "target": f"{self._exports.url or 'nowhere'}/{declared.name}",
                "mode": declared.format,
                "deletes": f"keep {declared.keep}",
            }
        server = self._servers[declared.meilisearch]
        return {
            "kind": "index",
            "target": f"{server.url}/indexes/{declared.uid}",
            "mode": declared.mode,
            "deletes": declared.deletes,
        }

    def _status(self, name: str, state: ExportState) -> dict[str, Any]:
        return {**super()._status(name, state), "total_rows": state.total_rows}


def _told(declared: IndexDeclaration, state: ExportState) -> dict[str, Any]:
    return {
        "export": declared.name,
        "index": declared.uid,
        "how": state.last_how,
        "sent": state.last_sent,
        "deleted": state.last_deleted,
        "documents": state.documents,
        "watermark": state.watermark,
        "seconds": state.last_seconds,
        "notes": list(state.notes),
    }
