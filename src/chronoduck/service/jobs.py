"""Work that outlives its request: started, followed by id, ended, remembered for a while."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from chronoduck.errors import DuckDBException, NotFoundError
from chronoduck.logs import get_logger
from chronoduck.resilience.service_time import TICK_SECONDS
from chronoduck.service.job import Job, JobState
from chronoduck.service.job_store import JobStore

__all__ = ["Job", "JobConflictError", "JobRegistry", "JobState", "Progress"]

_REMEMBERED = 100
"""Ended jobs of one owner."""
_SAVE_MINUTES = 10
Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much there is (0: unknown)."""
Work = Callable[[Progress], Awaitable[dict[str, Any]]]


class JobConflictError(DuckDBException):
    """A job of that kind runs already."""

    code = "job_running"
    title = "Such a job runs already"
    http_status = 409
    exit_code = 75
    retryable = True


class JobRegistry:
    """Runs jobs on the event loop; what it knows of them is in the store, too."""

    def __init__(self, store: JobStore) -> None:
        """Make it; ``open`` must be awaited before anything else."""
        self._store = store
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unsaved: dict[str, asyncio.Future[None]] = {}
        self._expiry: asyncio.Task[None] | None = None
        self._is_closing = False
        self.on_forget: dict[str, Callable[[Job], None]] = {}
        """What else is to be removed with a job, by its kind; called in a thread."""
        self._log = get_logger("jobs")

    async def open(self) -> None:
        """Read what earlier processes left."""
        self._jobs = {job.id: job for job in await asyncio.to_thread(self._store.open)}
        self._expiry = asyncio.get_running_loop().create_task(self._expire())

    def start(self, kind: str, work: Work) -> Job:
        """Begin an operator's job; ``work`` gets a function to tell its progress by.

        Raises:
            JobConflictError: one of that kind runs.
        """
        for other in self._jobs.values():
            if other.kind == kind and not other.has_ended:
                raise JobConflictError(
                    f"a {kind} runs already: job {other.id}",
                    hint=f"Follow it: GET jobs/{other.id}.",
                )
        return self._start(Job(secrets.token_hex(8), kind), work)

    async def begin(
        self,
        kind: str,
        work: Callable[[Job, Progress], Awaitable[dict[str, Any]]],
        owner: str,
        keep_seconds: float | None = None,
    ) -> Job:
        """Begin one of many jobs of a principal; returns it once a restart would know of it.

        A caller that leaves before that has not learned the job's id: the job is cancelled.
        """
        job = Job(secrets.token_hex(8), kind, owner, keep_seconds=keep_seconds)
        self._start(job, lambda show: work(job, show))
        try:
            await asyncio.shield(self._unsaved[job.id])
        except asyncio.CancelledError:
            await asyncio.shield(self.cancel(job.id))
            raise
        return job

    def _start(self, job: Job, work: Work) -> Job:
        self._jobs[job.id] = job
        ended = [
            each
            for each in self._jobs.values()
            # An export that failed is kept as long as others, and is as cheap to begin.
            if each.owner == job.owner
            and each.has_ended
            and (each.keep_seconds is None or each.state is not JobState.SUCCEEDED)
        ]
        for old in ended[: max(0, len(ended) - _REMEMBERED)]:
            self._forget(old)
        loop = asyncio.get_running_loop()
        self._unsaved[job.id] = loop.create_future()
        self._tasks[job.id] = loop.create_task(self._run(job, work))
        return job

    async def _run(self, job: Job, work: Work) -> None:
        def show(step: str, done: int, total: int) -> None:
            job.step, job.done, job.total = step, done, total

        state = JobState.FAILED
        try:
            await self.save(job)
            job.result = await work(show)
            state = JobState.SUCCEEDED
        except DuckDBException as error:
            job.error = {
                "code": error.code,
                "detail": error.detail,
                "hint": error.hint,
                "status": error.http_status,
                "retryable": error.retryable,
            }
            self._log.error("job_failed", job=job.id, kind=job.kind, error=error.operator_detail)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job has failed
            job.error = {
                "code": "internal_error",
                "detail": "an unforeseen error ended this job",
                "hint": "The operator finds it in the log by the job's id.",
                "status": 500,
                "retryable": False,
            }
            self._log.error("job_failed", job=job.id, kind=job.kind, exc_info=error)
        except asyncio.CancelledError:
            state = JobState.INTERRUPTED if self._is_closing else JobState.CANCELLED
        finally:
            # Nobody is told of an end that a power cut could take back.
            ended = replace(job, state=state, ended_at=time.time())
            saving = asyncio.ensure_future(self.save(ended))
            while not saving.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.shield(saving)
            self._end(job, state, ended.ended_at)
            self._tasks.pop(job.id, None)

    def _end(self, job: Job, state: JobState, at: float | None = None) -> None:
        job.ended_at = time.time() if at is None else at
        job.state = state
        self._log.info(
            "job_ended",
            job=job.id,
            kind=job.kind,
            state=state,
            seconds=round(job.ended_at - job.started_at, 3),
        )

    async def save(self, job: Job) -> None:
        """Have a restart know what a job has said of itself so far; it goes on without that, too."""
        try:
            await asyncio.to_thread(self._store.save, job)
        except OSError as error:
            self._log.warning("job_not_saved", job=job.id, reason=str(error))
        finally:
            self._tell_saved(job)

    def _tell_saved(self, job: Job) -> None:
        saved = self._unsaved.pop(job.id, None)
        if saved is not None:
            saved.set_result(None)

    def list(self, owner: str | None = None) -> list[Job]:
        """Return the jobs, those of one owner or all, newest first."""
        return [job for job in reversed(self._jobs.values()) if owner is None or job.owner == owner]

    def get(self, job_id: str) -> Job:
        """Return one job.

        Raises:
            NotFoundError: there is none of that id, or it is long ago.
        """
        if job_id not in self._jobs:
            raise NotFoundError(f"there is no job {job_id[:40]}", hint="GET jobs lists them.")
        return self._jobs[job_id]

    async def wait(self, job: Job, seconds: float | None = None) -> Job:
        """Return the job once it has ended, or after that time."""
        task = self._tasks.get(job.id)
        if task is not None:
            await asyncio.wait([task], timeout=seconds)
        return job

    async def cancel(self, job_id: str) -> Job:
        """End a job that runs; forget one that has ended, and its result."""
        job = self.get(job_id)
        task = self._tasks.get(job_id)
        if task is None or job.has_ended:
            await self.wait(job)  # its end may be on its way to the store
            self._forget(job)
            return job
        task.cancel()
        await asyncio.wait([task])
        if not job.has_ended:  # it had not taken its first step
            self._end(job, JobState.CANCELLED)
            self._tell_saved(job)
            self._tasks.pop(job_id, None)
        return job

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.id, None)
        asyncio.get_running_loop().run_in_executor(None, self._remove, job)

    def _remove(self, job: Job) -> None:
        self._store.remove(job.id)
        try:
            if job.kind in self.on_forget:
                self.on_forget[job.kind](job)
        except DuckDBException as error:
            # What is left goes on counting until the next start.
            self._log.warning("job_not_cleaned_up", job=job.id, reason=error.operator_detail)
        else:
            self._store.give_back(job.id)

    async def _expire(self) -> None:
        for minute in itertools.count(1):
            await asyncio.sleep(TICK_SECONDS)
            self._store.tick()
            for job in [job for job in self._jobs.values() if self._store.is_over(job)]:
                self._forget(job)
            if minute % _SAVE_MINUTES == 0:
                await self._save_ages()

    async def _save_ages(self) -> None:
        try:
            await asyncio.to_thread(self._store.save_ages)
        except OSError as error:
            self._log.warning("job_ages_not_saved", reason=str(error))

    async def close(self) -> None:
        """End all jobs; they are told as interrupted."""
        self._is_closing = True
        if self._expiry is not None:
            self._expiry.cancel()
        for job_id in list(self._tasks):
            await self.cancel(job_id)
        await self._save_ages()
