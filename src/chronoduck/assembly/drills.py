"""Restore drills of the service: by schedule and on demand, as jobs."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from chronoduck.assembly.schedule import Schedule
from chronoduck.errors import DuckDBException, SettingsError
from chronoduck.logs import get_logger
from chronoduck.replication.drill import DrillRecord, note_failure
from chronoduck.service.jobs import Job, JobRegistry, Progress
from chronoduck.settings import Settings
from chronoduck.tasks.process import run_task

__all__ = ["Drills"]


class Drills:
    """Lives on the event loop while the database is open."""

    def __init__(self, settings: Settings, jobs: JobRegistry) -> None:
        self._settings = settings
        self._jobs = jobs
        is_on = settings.replica.url is not None
        self._schedule = Schedule(settings.replica.drill_schedule if is_on else "", self.begin)
        self._last = DrillRecord.read(settings.database_path)

    def start(self) -> None:
        """Begin to follow the schedule."""
        self._schedule.start()

    def note_interrupted(self) -> None:
        """Note a drill during which an earlier service died: memory may be the reason. Blocks.

        The jobs of earlier processes must be known.
        """
        for job in self._jobs.list()[::-1]:
            died = job.kind == "drill" and job.error and job.error["code"] == "job_interrupted"
            started = datetime.fromtimestamp(job.started_at, UTC)
            if died and (self._last is None or datetime.fromisoformat(self._last.at) < started):
                seconds = (job.ended_at or job.started_at) - job.started_at
                self._note(started, seconds, "job_interrupted", "the service died during the drill")

    def _note(self, started: datetime, seconds: float, code: str, detail: str) -> None:
        try:
            self._last = note_failure(self._settings.database_path, started, seconds, code, detail)
        except OSError as error:
            self._last = DrillRecord(started.isoformat(), False, seconds, error=code, detail=detail)
            get_logger("drill").warning("drill_not_noted", reason=str(error))

    async def stop(self) -> None:
        """End the schedule; the registry ends the job."""
        await self._schedule.stop()

    def begin(self) -> Job:
        """Begin to restore the replica's newest point elsewhere, to verify and to time it.

        Raises:
            SettingsError: there is no replica.
            JobConflictError: a drill is under way.
        """
        if self._settings.replica.url is None:
            raise SettingsError(
                "there is no replica to restore from", hint="Set DUCKDB_REPLICA_URL."
            )

        async def work(show: Progress) -> dict[str, Any]:
            async def relay(step: str, done: int, total: int) -> None:
                show(step, done, total)

            database, before = self._settings.database_path, self._last
            started, began = datetime.now(UTC), time.monotonic()
            try:
                return await run_task(self._settings, "drill", relay)
            except (DuckDBException, TimeoutError) as error:
                if await asyncio.to_thread(DrillRecord.read, database) == before:
                    # Killed, out of memory, too late: it could not say so itself.
                    code = error.code if isinstance(error, DuckDBException) else "task_failed"
                    seconds = time.monotonic() - began
                    await asyncio.to_thread(self._note, started, seconds, code, str(error))
                raise
            finally:
                last = await asyncio.to_thread(DrillRecord.read, database)
                if last != before:
                    self._last = last

        return self._jobs.start("drill", work)

    def get_status(self) -> dict[str, Any]:
        """Return when the next drill is and how the last one went."""
        next_at = self._schedule.next_at
        return {
            "next_at": None if next_at is None else next_at.isoformat(),
            "last": None if self._last is None else self._last.as_dict(),
        }
