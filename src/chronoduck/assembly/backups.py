"""Backups that the service makes: by schedule and on demand, as jobs, each in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

from chronoduck.assembly.schedule import Schedule
from chronoduck.backup.records import Backup
from chronoduck.backup.shelf import Shelf
from chronoduck.backup.take import COPYING
from chronoduck.engine.checkpoints import Checkpointer
from chronoduck.errors import DuckDBException, SettingsError
from chronoduck.service.jobs import Job, JobRegistry, JobState, Progress
from chronoduck.settings import Settings
from chronoduck.tasks.process import TaskFailedError, run_task

__all__ = ["Backups"]


class Backups:
    """Lives on the event loop while the database is open."""

    def __init__(
        self,
        settings: Settings,
        checkpointer: Checkpointer,
        jobs: JobRegistry,
        on_failure: Callable[[str], object] = lambda sentence: None,
    ) -> None:
        """``on_failure`` is called in a thread with why a copy of the database could not be read."""
        self._on_failure = on_failure
        self._settings = settings
        self._checkpointer = checkpointer
        self._jobs = jobs
        self._last: Job | None = None
        self._last_success: datetime | None = None
        self._good_since = time.monotonic()
        """When this process began, or made its last backup."""
        self._looking: asyncio.Task[None] | None = None
        is_on = settings.backup.dir is not None
        self._schedule = Schedule(settings.backup.schedule if is_on else "", self.create)

    def start(self) -> None:
        """Begin to follow the schedule, if there is a directory and a schedule."""
        if self._settings.backup.dir is not None:
            self._looking = asyncio.create_task(self._look_for_newest())
        self._schedule.start()

    async def _look_for_newest(self) -> None:
        """Find the backup that an earlier process made last; the directory may be a slow one."""
        with contextlib.suppress(DuckDBException, OSError):
            made = [each.name.taken_at for each in await asyncio.to_thread(self.list)]
            if self._last_success is None and made:
                self._last_success = max(made)

    async def stop(self) -> None:
        """End the schedule; the registry ends the jobs."""
        if self._looking is not None:
            self._looking.cancel()
        await self._schedule.stop()

    def create(self, tables: Sequence[str] = ()) -> Job:
        """Begin a backup.

        Raises:
            SettingsError: there is no backup directory.
            JobConflictError: a backup is being made.
        """
        self._shelf()

        async def work(show: Progress) -> dict[str, Any]:
            made = await self._run_on_copy("backup", show, tables=list(tables))
            self._last_success, self._good_since = datetime.now(UTC), time.monotonic()
            return made

        job = self._last = self._jobs.start("backup", work)
        return job

    async def verify(self, backup_id: str) -> Job:
        """Begin to restore a backup into a scratch directory and to compare it with its manifest.

        Raises:
            BackupNotFoundError: there is none of that id.
            JobConflictError: one is being verified.
        """
        backup = await asyncio.to_thread(self._shelf().find, backup_id)

        async def work(show: Progress) -> dict[str, Any]:
            async def relay(step: str, done: int, total: int) -> None:
                show(step, done, total)

            return await run_task(self._settings, "verify_backup", relay, backup=backup.name.id)

        return self._jobs.start("verification", work)

    def verify_database(self) -> Job:
        """Begin to copy the live database and to read every column of every table in the copy.

        Raises:
            JobConflictError: something is being verified.
        """
        return self._jobs.start(
            "verification", lambda show: self._run_on_copy("verify_database", show)
        )

    async def _run_on_copy(self, task: str, show: Progress, **arguments: Any) -> dict[str, Any]:
        """Run a task that copies the database first; until it has, no checkpoint happens."""
        async with AsyncExitStack() as hold:
            await hold.enter_async_context(self._checkpointer.held())

            async def relay(step: str, done: int, total: int) -> None:
                if step != COPYING:
                    await hold.aclose()
                show(step, done, total)

            try:
                return await run_task(self._settings, task, relay, **arguments)
            except TaskFailedError as error:
                await asyncio.to_thread(self._on_failure, error.detail)
                raise

    def list(self) -> list[Backup]:
        """Return the backups, oldest first; reads the directory.

        Raises:
            SettingsError: there is no backup directory.
        """
        return self._shelf().list()

    def get_status(self) -> dict[str, Any]:
        """Return what health needs to know; does not touch the directory."""
        last, next_at = self._last, self._schedule.next_at
        failed = last is not None and last.state is JobState.FAILED
        return {
            "enabled": self._settings.backup.dir is not None,
            "next_at": None if next_at is None else next_at.isoformat(),
            "last_success_at": self._last_success.isoformat(timespec="seconds")
            if self._last_success
            else None,
            "is_overdue": self._is_overdue,
            "last_error": last.error["code"] if last and last.error and failed else "",
        }

    @property
    def _is_overdue(self) -> bool:
        """Whether two of the schedule's times have passed without a backup, however that came."""
        interval = self._schedule.interval_seconds
        if interval is None:
            return False
        return time.monotonic() - self._good_since > 2 * interval

    def _shelf(self) -> Shelf:
        shelf = Shelf.of(self._settings)
        if shelf is None:
            raise SettingsError(
                "there is no backup directory",
                hint="Set DUCKDB_BACKUP_DIR to a directory, best on another disk.",
            )
        return shelf
