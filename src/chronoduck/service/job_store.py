"""Jobs and their results on the disk, so that a restart neither forgets them nor lies about them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import orjson

from chronoduck.errors import DiskFullError, DuckDBResourceError
from chronoduck.errors.system import reason_of
from chronoduck.logs import get_logger
from chronoduck.resilience.service_time import ServiceTime
from chronoduck.resilience.space_budget import SpaceBudget, SpaceClaim
from chronoduck.service.job import Job, JobState
from chronoduck.storage.durable_write import (
    fsync_directory,
    make_directories,
    sync_file,
    write_durably,
)
from chronoduck.units import format_bytes

__all__ = ["JobSpaceError", "JobStore"]

_AGES = "ages"
_SUFFIXES = (".json", ".part", ".parquet")
_INTERRUPTED = {
    "code": "job_interrupted",
    "detail": "the service's process ended while the job ran; "
    "a statement that writes may or may not have been applied",
    "hint": "Look whether it was, then send it again.",
    "status": 500,
    "retryable": False,
}


class JobSpaceError(DuckDBResourceError):
    """The results of jobs and exports take all the space that they may."""

    code = "job_space_full"
    title = "No space for results"
    http_status = 507


class JobStore:
    """A directory with ``ID.json`` and, of statements, ``ID.parquet``; call it in threads."""

    def __init__(
        self,
        directory: Path,
        ttl_seconds: float,
        space_bytes: int,
        service_time: ServiceTime | None = None,
        *,
        share: float = 1.0,
        check_volume: Callable[[int], None] = lambda count: None,
    ) -> None:
        """``share`` and ``check_volume``: see `SpaceBudget`."""
        self.directory = directory
        self._ttl_seconds = ttl_seconds
        self.budget = SpaceBudget(
            space_bytes, self._no_space, share=share, check_volume=check_volume
        )
        """What results, exports and what is not done of them take. Started anew by ``open``."""
        self._claims: dict[str, SpaceClaim] = {}
        self._time = service_time or ServiceTime()
        self._ended: dict[str, float] = {}
        """When jobs ended, in this service's own time; below 0 for those of earlier processes."""

    def open(self) -> list[Job]:
        """Return the jobs of earlier processes, oldest first; what ran then was interrupted."""
        make_directories(self.directory, 0o700)
        for job_id in list(self._claims):
            self.give_back(job_id)
        jobs = []
        ages = self._read_ages()
        for path in self.directory.glob("*.json"):
            try:
                job = Job(**orjson.loads(path.read_bytes()))
            except (OSError, TypeError, ValueError) as error:
                get_logger("jobs").warning("job_not_read", file=path.name, reason=str(error))
                self.remove(path.stem)
                continue
            if job.state is JobState.RUNNING:
                job.state, job.error = JobState.INTERRUPTED, _INTERRUPTED
                job.ended_at = max(job.started_at, path.stat().st_mtime)
                self.result_path(job.id).unlink(missing_ok=True)
                self.save(job)
            self._ended[job.id] = self._time.now_seconds - ages.get(job.id, 0.0)
            if not self.is_over(job):
                jobs.append(job)
                self._count_again(job)
        known = {job.id for job in jobs}
        for path in self.directory.iterdir():
            if path.is_dir():  # what a job that was interrupted had begun
                shutil.rmtree(path, ignore_errors=True)
            elif (
                path.name.startswith(".")
                or path.suffix == ".part"
                or (path.suffix in _SUFFIXES and path.stem not in known)
            ):
                path.unlink(missing_ok=True)
        return sorted(jobs, key=lambda job: job.started_at)

    def _count_again(self, job: Job) -> None:
        """Count what an earlier process stored for the job, whatever the budget says."""
        with contextlib.suppress(OSError):
            self.claim(job).hold(self.result_path(job.id).stat().st_size)
        exported = (job.result or {}).get("bytes")
        if job.kind == "export" and job.state is JobState.SUCCEEDED and isinstance(exported, int):
            self.claim(job).hold(exported)

    def claim(self, job: Job, *, is_capped: bool = True) -> SpaceClaim:
        """Return what the job has of the budget, until ``give_back``."""
        claim = self._claims.get(job.id)
        if claim is None:
            claim = self._claims[job.id] = self.budget.claim(job.owner, is_capped=is_capped)
        return claim

    def give_back(self, job_id: str) -> None:
        """Say that nothing of the job is on the disk any more."""
        claim = self._claims.pop(job_id, None)
        if claim is not None:
            claim.release()

    def save(self, job: Job) -> None:
        """Write the job; whole or not at all, even after a power cut."""
        text = orjson.dumps(asdict(job), default=str)
        write_durably(self.directory / f"{job.id}.json", [text], 0o600)

    def result_path(self, job_id: str) -> Path:
        """The file of a job's result; it is there once the job has succeeded."""
        return self.directory / f"{job_id}.parquet"

    def sync_result(self, job_id: str) -> None:
        """Bring a job's result onto the disk, before anybody is told that it is there.

        Raises:
            DiskFullError: it does not fit.
        """
        try:
            sync_file(self.result_path(job_id))
            fsync_directory(self.directory)
        except OSError as error:
            raise DiskFullError(
                f"the result cannot be written: {reason_of(error)}",
                hint="Free space on the volume of the database, or ask for less.",
            ) from error

    def remove(self, job_id: str) -> None:
        """Forget a job and its result."""
        self._ended.pop(job_id, None)
        for suffix in _SUFFIXES:
            with contextlib.suppress(OSError):
                (self.directory / f"{job_id}{suffix}").unlink()

    def is_over(self, job: Job) -> bool:
        """Whether the job ended so long ago that it is to be forgotten.

        Only time in which the service ran counts: a clock that jumps deletes no result.
        """
        if job.ended_at is None:
            return False
        now = self._time.now_seconds
        return now - self._ended.setdefault(job.id, now) > self._keep_seconds(job)

    def _keep_seconds(self, job: Job) -> float:
        return self._ttl_seconds if job.keep_seconds is None else job.keep_seconds

    def expires_at(self, job: Job) -> float | None:
        """Unix time until which it is there for sure if the service runs; None: it runs itself."""
        return None if job.ended_at is None else job.ended_at + self._keep_seconds(job)

    def tick(self) -> None:
        """Count time; call it once a minute."""
        self._time.tick()

    def save_ages(self) -> None:
        """Note how old ended jobs are, for the next process.

        Raises:
            OSError: it cannot be written; they then live a little longer.
        """
        now = self._time.now_seconds
        ages = {job_id: round(now - at, 3) for job_id, at in list(self._ended.items())}
        if ages or (self.directory / _AGES).exists():
            write_durably(self.directory / _AGES, [orjson.dumps(ages)], 0o600)

    def _read_ages(self) -> dict[str, float]:
        try:
            return dict(orjson.loads((self.directory / _AGES).read_bytes()))
        except (OSError, ValueError):
            return {}

    def scratch(self, job: Job) -> Path:
        """Return a new directory for what the job writes before it is done; its to remove."""
        path = self.directory / f"{job.id}.scratch"
        path.mkdir(mode=0o700)
        return path

    def _no_space(self, is_share: bool) -> JobSpaceError:
        budget = self.budget
        if is_share:
            return JobSpaceError(
                f"the results and exports of this principal take the "
                f"{format_bytes(budget.share_bytes)} that they may take",
                hint="DELETE jobs/{id} gives back a result's space; or raise DUCKDB_JOB_SPACE or "
                "DUCKDB_QUOTA_SPACE.",
            )
        return JobSpaceError(
            f"the results of jobs take the {format_bytes(budget.total_bytes)} that they may take",
            hint="DELETE jobs/{id} gives back a result's space; or raise DUCKDB_JOB_SPACE.",
        )
