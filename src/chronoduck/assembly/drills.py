"""Restore drills of the service: by schedule and on demand, as jobs."""

from __future__ import annotations

from typing import Any

from chronoduck.assembly.schedule import Schedule
from chronoduck.errors import SettingsError
from chronoduck.replication.drill import DrillRecord
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

            try:
                return await run_task(self._settings, "drill", relay)
            finally:
                self._last = DrillRecord.read(self._settings.database_path)

        return self._jobs.start("drill", work)

    def get_status(self) -> dict[str, Any]:
        """Return when the next drill is and how the last one went."""
        next_at = self._schedule.next_at
        return {
            "next_at": None if next_at is None else next_at.isoformat(),
            "last": None if self._last is None else self._last.as_dict(),
        }
