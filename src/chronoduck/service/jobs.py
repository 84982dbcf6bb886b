"""Work that outlives its request: started, followed by id, ended; the newest hundred are remembered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from random import getrandbits
from typing import Any

from chronoduck.errors import DuckDBException, NotFoundError
from chronoduck.logs import get_logger

__all__ = ["Job", "JobConflictError", "JobRegistry", "JobState", "Progress"]

_REMEMBERED = 100
Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much there is (0: unknown)."""


class JobConflictError(DuckDBException):
    """A job of that kind runs already."""

    code = "job_running"
    title = "Such a job runs already"
    http_status = 409
    exit_code = 75
    retryable = True


class JobState(StrEnum):
    """How far a job is."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass
class Job:
    """One piece of work."""

    id: str
    kind: str
    state: JobState = JobState.RUNNING
    step: str = ""
    done: int = 0
    total: int = 0
    started_at: float = field(default_factory=time.time)
    ended_at: float | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what the API shows."""
        end = self.ended_at if self.ended_at is not None else time.time()
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state.value,
            "progress": {"step": self.step, "done": self.done, "total": self.total},
            "started_at": _iso(self.started_at),
            "ended_at": None if self.ended_at is None else _iso(self.ended_at),
            "seconds": round(end - self.started_at, 3),
            "result": self.result,
            "error": self.error,
        }


class JobRegistry:
    """Runs jobs on the event loop, one of each kind at a time."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._log = get_logger("jobs")

    def start(self, kind: str, work: Callable[[Progress], Awaitable[dict[str, Any]]]) -> Job:
        """Begin; ``work`` gets a function to tell its progress by and returns the result.

        Raises:
            JobConflictError: one of that kind runs.
        """
        for other in self._jobs.values():
            if other.kind == kind and other.state is JobState.RUNNING:
                raise JobConflictError(
                    f"a {kind} runs already: job {other.id}",
                    hint=f"Follow it: GET jobs/{other.id}.",
                )
        job = Job(f"{getrandbits(64):016x}", kind)
        self._jobs[job.id] = job
        for old in list(self._jobs)[:-_REMEMBERED]:
            if self._jobs[old].state is not JobState.RUNNING:
                del self._jobs[old]
        self._tasks[job.id] = asyncio.get_running_loop().create_task(self._run(job, work))
        return job

    async def _run(self, job: Job, work: Callable[[Progress], Awaitable[dict[str, Any]]]) -> None:
        def show(step: str, done: int, total: int) -> None:
            job.step, job.done, job.total = step, done, total

        try:
            job.result = await work(show)
            job.state = JobState.SUCCEEDED
        except DuckDBException as error:
            job.state = JobState.FAILED
            job.error = {"code": error.code, "detail": error.detail, "hint": error.hint}
            self._log.error("job_failed", job=job.id, kind=job.kind, error=error.operator_detail)
        except asyncio.CancelledError:
            job.state = JobState.CANCELLED
        finally:
            job.ended_at = time.time()
            self._tasks.pop(job.id, None)
        self._log.info(
            "job_ended",
            job=job.id,
            kind=job.kind,
            state=job.state,
            seconds=round(job.ended_at - job.started_at, 3),
        )

    def list(self) -> list[Job]:
        """Return the jobs, newest first."""
        return list(reversed(self._jobs.values()))

    def get(self, job_id: str) -> Job:
        """Return one job.

        Raises:
            NotFoundError: there is none of that id, or it is long ago.
        """
        if job_id not in self._jobs:
            raise NotFoundError(f"there is no job {job_id}", hint="GET jobs lists them.")
        return self._jobs[job_id]

    async def wait(self, job: Job) -> Job:
        """Return the job once it has ended."""
        task = self._tasks.get(job.id)
        if task is not None:
            await asyncio.wait([task])
        return job

    async def cancel(self, job_id: str) -> Job:
        """End a job; one that has ended stays as it is."""
        job = self.get(job_id)
        task = self._tasks.get(job_id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if job.state is JobState.RUNNING:  # it had not taken its first step
                job.state, job.ended_at = JobState.CANCELLED, time.time()
                self._tasks.pop(job_id, None)
        return job

    async def close(self) -> None:
        """End all jobs."""
        for job_id in list(self._tasks):
            await self.cancel(job_id)


def _iso(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds")
