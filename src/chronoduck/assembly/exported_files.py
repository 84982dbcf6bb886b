"""One run of an export into files: written as any export is, and the oldest ones removed after it.

Folders are recorded before there is anything in them, and removed by that record alone: what a
killed run began goes with the next run, and what is not recorded is another's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from chronoduck.errors import DuckDBException
from chronoduck.export import ExportWriteError, FilesDeclaration
from chronoduck.export.state import ExportState
from chronoduck.service.exports import Exports, ExportWish
from chronoduck.service.jobs import Job, JobRegistry, Progress
from chronoduck.service.records import Caller
from chronoduck.storage import StoreError

__all__ = ["FilesRun"]

_LOOK_SECONDS = 0.2
_KEPT_SECONDS = 100 * 365 * 86_400.0
"""Until newer ones are there, not for a time."""


class FilesRun:
    """``keep`` makes a state last; it is told before each step that a crash must not undo."""

    def __init__(
        self,
        declared: FilesDeclaration,
        exports: Exports,
        jobs: JobRegistry,
        caller: Caller,
        keep: Callable[[ExportState], Awaitable[None]],
        show: Progress,
    ) -> None:
        self._declared = declared
        self._exports = exports
        self._jobs = jobs
        self._caller = caller
        self._keep = keep
        self._show = show

    async def run(self, state: ExportState) -> dict[str, Any]:
        """Write the files; return what is told of them.

        Raises:
            ExportWriteError: they were not written; none of them is left.
            DuckDBException: the query is refused, or there is no place for exports.
        """
        declared, started = self._declared, time.monotonic()
        state = await self._remove(state)

        async def on_publish(folder: str) -> None:
            nonlocal state
            state = replace(state, leaving=(*state.leaving, self._url(folder)))
            await self._keep(state)

        job = await self._write(on_publish)
        result = job.result or {}
        url = self._url(result["folder"])
        here = [each for each in state.written if self._folder(each) is not None]
        old = here[: max(0, len(here) + 1 - declared.keep)]
        written = (*(each for each in state.written if each not in old), url)
        leaving = (*(each for each in state.leaving if each != url), *old)
        rows, seconds = result["row_count"], round(time.monotonic() - started, 3)
        state = state.ended(
            sent=rows,
            deleted=0,
            written=written,
            leaving=leaving,
            documents=rows,
            last_how="files",
            notes=(),
        ).timed(datetime.now(UTC).isoformat(timespec="milliseconds"), seconds)
        await self._keep(state)
        state = await self._remove(state)
        return {
            "export": declared.name,
            "how": "files",
            "rows": rows,
            "url": result["url"],
            "files": result["files"],
            "bytes": result["bytes"],
            "job": job.id,
            "removed": len([each for each in old if each not in state.leaving]),
            "seconds": seconds,
            "notes": list(state.notes),
        }

    async def _write(self, on_publish: Callable[[str], Awaitable[None]]) -> Job:
        """Return the job that wrote the files; one that failed is not remembered beside this run."""
        declared, exports = self._declared, self._exports
        wish = ExportWish(
            declared.query,
            None,
            declared.format,
            declared.partition_by,
            declared.name,
            exports.longest_seconds,
        )
        job = await exports.start(wish, exports.options, self._caller, _KEPT_SECONDS, on_publish)
        try:
            while not job.has_ended:
                await self._jobs.wait(job, _LOOK_SECONDS)
                self._show(job.step, job.done, job.total)
        except asyncio.CancelledError:
            await asyncio.shield(self._jobs.cancel(job.id))
            raise
        if job.error is not None or job.result is None or "url" not in job.result:
            error = job.error or {"detail": f"it was {job.state.value}", "hint": ""}
            await self._jobs.cancel(job.id)
            failed = ExportWriteError(error["detail"], hint=error["hint"])
            if "status" in error:
                told = DuckDBException("")
                vars(told).update(
                    code=error["code"], http_status=error["status"], retryable=error["retryable"]
                )
                failed.keep_state_of(told)
            raise failed
        return job

    async def _remove(self, state: ExportState) -> ExportState:
        """Remove what is to leave; what cannot be removed now stays recorded for the next run."""
        left, notes = [], []
        for url in state.leaving:
            folder = self._folder(url)
            if folder is None:  # of another DUCKDB_EXPORT_URL, which may come back
                left.append(url)
                continue
            try:
                await asyncio.to_thread(self._exports.delete, folder)
            except StoreError as error:
                left.append(url)
                notes.append(f"{url} is not removed yet: {error.detail}")
                continue
            await self._forget(folder)
        if tuple(left) != state.leaving or notes:
            state = replace(state, leaving=tuple(left), notes=tuple(notes))
            await self._keep(state)
        return state

    async def _forget(self, folder: str) -> None:
        for job in self._jobs.list():
            if (
                job.kind == "export"
                and job.has_ended
                and (job.result or {}).get("folder") == folder
            ):
                await self._jobs.cancel(job.id)

    def _url(self, folder: str) -> str:
        return f"{self._exports.url}/{folder}"

    def _folder(self, url: str) -> str | None:
        """Return the name of a folder at the present place of exports; None: it is elsewhere."""
        place, _, folder = url.rpartition("/")
        return folder if place == self._exports.url and folder else None
