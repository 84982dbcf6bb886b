"""Backups that the service makes: by schedule and on demand, as jobs, each in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import orjson
from cronsim import CronSim

from chronoduck.backup.failures import BackupError
from chronoduck.backup.records import Backup
from chronoduck.backup.shelf import Shelf
from chronoduck.backup.take import COPYING
from chronoduck.engine.checkpoints import Checkpointer
from chronoduck.errors import DuckDBException, SettingsError
from chronoduck.logs import get_logger
from chronoduck.service.jobs import Job, JobRegistry, JobState, Progress
from chronoduck.settings import Settings, reveal

__all__ = ["Backups"]


class Backups:
    """Lives on the event loop while the database is open."""

    def __init__(self, settings: Settings, checkpointer: Checkpointer, jobs: JobRegistry) -> None:
        self._settings = settings
        self._checkpointer = checkpointer
        self._jobs = jobs
        self._task: asyncio.Task[None] | None = None
        self._log = get_logger("backup")
        self._last: Job | None = None
        self.next_at: datetime | None = None

    def start(self) -> None:
        """Begin to follow the schedule, if there is a directory and a schedule."""
        if self._settings.backup.dir is not None and self._settings.backup.schedule:
            self._task = asyncio.get_running_loop().create_task(self._follow_schedule())

    async def stop(self) -> None:
        """End the schedule; the registry ends the jobs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow_schedule(self) -> None:
        for time in CronSim(self._settings.backup.schedule, datetime.now(UTC)):
            now = datetime.now(UTC)
            if time <= now:
                continue  # the machine slept, or the clock jumped: not one backup per missed hour
            self.next_at = time
            # In pieces: a sleep does not notice that the clock was set.
            while (left := (time - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(min(left, 30.0))
            try:
                self.create()
            except DuckDBException as error:
                self._log.warning("backup_skipped", reason=error.detail)

    def create(self, tables: Sequence[str] = ()) -> Job:
        """Begin a backup.

        Raises:
            SettingsError: there is no backup directory.
            JobConflictError: a backup is being made.
        """
        self._shelf()

        async def work(show: Progress) -> dict[str, Any]:
            async with AsyncExitStack() as hold:
                await hold.enter_async_context(self._checkpointer.held())

                async def relay(step: str, done: int, total: int) -> None:
                    if step != COPYING:
                        await hold.aclose()
                    show(step, done, total)

                return await self._run({"task": "take", "tables": list(tables)}, relay)

        job = self._last = self._jobs.start("backup", work)
        return job

    def verify(self, backup_id: str) -> Job:
        """Begin to restore a backup into a scratch directory and to compare it with its manifest.

        Raises:
            BackupNotFoundError: there is none of that id.
            JobConflictError: one is being verified.
        """
        backup = self._shelf().find(backup_id)

        async def work(show: Progress) -> dict[str, Any]:
            async def relay(step: str, done: int, total: int) -> None:
                show(step, done, total)

            return await self._run({"task": "verify", "backup": backup.name.id}, relay)

        return self._jobs.start("verification", work)

    def list(self) -> list[Backup]:
        """Return the backups, oldest first; reads the directory.

        Raises:
            SettingsError: there is no backup directory.
        """
        return self._shelf().list()

    def get_status(self) -> dict[str, Any]:
        """Return what health needs to know; does not touch the directory."""
        last = self._last
        failed = last is not None and last.state is JobState.FAILED
        return {
            "enabled": self._settings.backup.dir is not None,
            "next_at": None if self.next_at is None else self.next_at.isoformat(),
            "last_error": last.error["code"] if last and last.error and failed else "",
        }

    def _shelf(self) -> Shelf:
        shelf = Shelf.of(self._settings)
        if shelf is None:
            raise SettingsError(
                "there is no backup directory",
                hint="Set DUCKDB_BACKUP_DIR to a directory, best on another disk.",
            )
        return shelf

    async def _run(self, task: dict[str, Any], relay: Any) -> dict[str, Any]:
        """Run a task in a process of its own; it ends when this coroutine does."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chronoduck.backup"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin is not None  # noqa: S101 - both were asked for
        assert process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(orjson.dumps({**task, "settings": reveal(self._settings)}) + b"\n")
            while line := await process.stdout.readline():
                message = orjson.loads(line)
                if message["kind"] == "progress":
                    await relay(message["step"], message["done"], message["total"])
                elif message["kind"] == "failed":
                    raise _failure(message)
                else:
                    result: dict[str, Any] = message["result"]
                    return result
            raise BackupError("the backup's process died", hint="Its words are in the log.")
        finally:
            process.stdin.close()  # it ends by that
            await process.wait()


def _failure(message: dict[str, Any]) -> DuckDBException:
    error = BackupError(message["detail"], hint=message["hint"])
    error.code = message["code"]  # type: ignore[misc] # the child's, not this class's
    return error
