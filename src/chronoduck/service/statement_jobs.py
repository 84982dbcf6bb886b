"""Statements that run as jobs: their result becomes a Parquet file that is read again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from chronoduck.engine.encoding import EncodingOptions, ResultFormat, select_list
from chronoduck.engine.execution import Params
from chronoduck.errors import DuckDBException
from chronoduck.principals import Role
from chronoduck.service.encoded import EncodedQueries, EncodedResult
from chronoduck.service.job_store import JobStore
from chronoduck.service.jobs import Job, JobRegistry, JobState, Progress
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest
from chronoduck.service.session import Session
from chronoduck.storage.counted_file import counted_file

__all__ = ["JobHasNoResultError", "StatementJobs", "watching"]

_LOOK_SECONDS = 0.25
_PERMILLE = 1000


class JobHasNoResultError(DuckDBException):
    """The job gave no result, or not yet."""

    code = "job_has_no_result"
    title = "No result"
    http_status = 409
    exit_code = 66


class StatementJobs:
    """Starts statements that nobody waits for, and reads their results."""

    def __init__(self, encoded: EncodedQueries, jobs: JobRegistry, store: JobStore) -> None:
        self._encoded = encoded
        self._jobs = jobs
        self._store = store

    async def start(
        self,
        sql: str,
        params: Params,
        options: EncodingOptions,
        *,
        max_rows: int | None,
        timeout: float | None,
        caller: Caller,
    ) -> Job:
        """Begin; a statement that is refused or wrong is told at once, without a job.

        Raises:
            DuckDBQueryError: it is not one valid statement.
            StatementRefusedError: the caller may not run it.
            JobSpaceError: there is no space for a result.
        """
        is_capped = caller.principal.role is not Role.ADMIN
        await asyncio.to_thread(self._store.budget.check, caller.principal.id, is_capped=is_capped)
        request = ResultRequest(sql, params, ResultFormat.PARQUET, options, max_rows, timeout)
        statement = await self._encoded.parse(request, caller)

        async def work(job: Job, show: Progress) -> dict[str, Any]:
            path = self._store.result_path(job.id)
            claim = self._store.claim(job, is_capped=is_capped)
            try:
                async with counted_file(path, claim) as file:
                    with watching(show) as watch:
                        summary = await self._encoded.write(request, statement, caller, file, watch)
                await asyncio.to_thread(self._store.sync_result, job.id)
            except BaseException:
                await asyncio.shield(asyncio.to_thread(path.unlink, missing_ok=True))
                self._store.give_back(job.id)
                raise
            show("done", summary["row_count"], summary["row_count"])
            return summary

        return await self._jobs.begin("statement", work, caller.principal.id)

    async def read(
        self, job: Job, request: ResultRequest, offset: int, limit: int | None, caller: Caller
    ) -> EncodedResult:
        """Return a part of a job's result; ``request`` tells the format.

        Raises:
            JobHasNoResultError: it has no result, or not yet.
        """
        if job.kind != "statement" or job.state is not JobState.SUCCEEDED:
            raise JobHasNoResultError(
                f"job {job.id} has no result: it is {job.state.value}",
                hint=f"GET jobs/{job.id} tells why."
                if job.has_ended
                else f"Follow it: GET jobs/{job.id}, or its events.",
            )
        told = job.result or {}
        columns = select_list(told["columns"], told["types"]) if told.get("types") else "*"
        sql = f"SELECT {columns} FROM read_parquet($path) OFFSET $offset"
        params: dict[str, Any] = {"path": str(self._store.result_path(job.id)), "offset": offset}
        if limit is not None:
            sql, params = f"{sql} LIMIT $limit", {**params, "limit": limit}
        # What may be in the file was judged when it was made: the text is trusted, never the caller.
        own = replace(request, sql=sql, params=params, is_own_text=True)
        return await self._encoded.run(own, caller)

    def as_dict(self, job: Job, *, tells_paths: bool = False) -> dict[str, Any]:
        """Return what the API shows, with the time until which it is kept; see ``Job.as_dict``."""
        expires_at = self._store.expires_at(job)
        moment = None if expires_at is None else datetime.fromtimestamp(expires_at, UTC)
        expires = moment and moment.isoformat(timespec="seconds")
        return {**job.as_dict(tells_paths=tells_paths), "expires_at": expires}


@contextmanager
def watching(show: Progress) -> Iterator[Callable[[Session], None]]:
    """Give the block what it hands its session to, whose progress is then told until its end."""
    tasks: list[asyncio.Task[None]] = []

    def watch(session: Session) -> None:
        tasks.append(asyncio.get_running_loop().create_task(_watch(session, show)))

    try:
        yield watch
    finally:
        for task in tasks:
            task.cancel()


async def _watch(session: Session, show: Progress) -> None:
    """Tell again and again how far the engine says that it is."""
    while True:
        running = session.running
        if running.rows:
            show("writing", running.rows, 0)
        else:
            share = session.progress
            step = "waiting" if running.state == "waiting" else "running"
            show(step, round(_PERMILLE * (share or 0.0)), 0 if share is None else _PERMILLE)
        await asyncio.sleep(_LOOK_SECONDS)
