"""Compacts the live database: writers wait, readers go on until the moment the files are changed."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from pathlib import Path
from typing import Any

from chronoduck.engine.checkpoint_room import file_space
from chronoduck.engine.checkpoints import Checkpointer
from chronoduck.engine.compaction import plan_space
from chronoduck.engine.database import DuckDBInstance
from chronoduck.engine.disk_format import headers_sha256
from chronoduck.engine.healing import Healer
from chronoduck.errors import DatabaseFailedError, DiskFullError, TransactionConflictError
from chronoduck.replication.link import ReplicatorLink
from chronoduck.replication.local_state import LocalState
from chronoduck.resilience.write_gate import WriteGate
from chronoduck.service.jobs import Job, JobRegistry, Progress
from chronoduck.settings import Settings
from chronoduck.storage.durable_write import fsync_directory, replace_finished
from chronoduck.tasks.process import run_task
from chronoduck.units import format_bytes

__all__ = ["Compaction"]

_WRITERS_SECONDS = 60.0
_READERS_SECONDS = 10.0
_SHIP_SECONDS = 5.0
"""Writers wait meanwhile; what is not shipped by then is in the new file, of which all is shipped."""
_RETRY_SECONDS = 0.05


class Compaction:
    """Lives on the event loop while the database is open."""

    def __init__(
        self,
        settings: Settings,
        instance: DuckDBInstance,
        gate: WriteGate,
        checkpointer: Checkpointer,
        healer: Healer,
        link: ReplicatorLink | None,
        jobs: JobRegistry,
    ) -> None:
        self._settings = settings
        self._instance = instance
        self._gate = gate
        self._checkpointer = checkpointer
        self._healer = healer
        self._link = link
        self._jobs = jobs

    async def begin(self) -> Job:
        """Begin to write the database into a new file and to put that in its place.

        Raises:
            JobConflictError: it is being compacted.
            DiskFullError: the copy and the new file would not fit beside it.
        """
        await asyncio.to_thread(self._check_space)
        return self._jobs.start("compaction", self._compact)

    def _check_space(self) -> bool:
        """Return whether the copy goes to the volume of temporary files.

        Raises:
            DiskFullError: the new file, or it and the copy, would not fit.
        """
        directory = self._settings.database_path.parent
        space = plan_space(self._settings, file_space(self._instance).used_bytes)
        free = shutil.disk_usage(directory).free
        if free < space.needed_bytes:
            raise DiskFullError(
                f"the volume of the database has {format_bytes(free)} free; compacting needs "
                f"{format_bytes(space.needed_bytes)} while it is done",
                hint="Free space or enlarge the volume. After a DELETE or DROP run CHECKPOINT first. "
                "With DUCKDB_TEMP_DIRECTORY on another volume it needs about half.",
            )
        return space.scratch is not None

    async def _compact(self, show: Progress) -> dict[str, Any]:
        async def relay(step: str, done: int, total: int) -> None:
            show(step, done, total)

        path = self._settings.database_path
        before = await asyncio.to_thread(_size, path)
        loop = asyncio.get_running_loop()
        show("waiting for writers", 0, 0)
        try:
            async with self._gate.closed(_WRITERS_SECONDS):
                started = loop.time()
                await self._fold_log()
                async with self._checkpointer.held():
                    found = await run_task(
                        self._settings,
                        "compact",
                        relay,
                        storage_version=self._storage_version(),
                        uses_scratch=await asyncio.to_thread(self._check_space),
                    )
                    show("changing files", 0, 0)
                    await self._change_files(Path(found["file"]), found["headers_sha256"])
                waited = loop.time() - started
        finally:
            await self._follow_again()
        after = await asyncio.to_thread(_size, path)
        return {
            "bytes_before": before,
            "bytes_after": after,
            "given_back": before - after,
            "rows": found["rows"],
            "writers_waited_seconds": round(waited, 3),
        }

    def _storage_version(self) -> str | None:
        """Return the version that the operator named. The default alone never raises a file's own."""
        is_named = "storage_version" in self._settings.model_fields_set
        return self._settings.storage_version if is_named else None

    async def _fold_log(self) -> None:
        """Run a checkpoint; a reader that began before the last update may put it off for a while."""
        end = time.monotonic() + _READERS_SECONDS
        while True:
            try:
                await self._checkpointer.checkpoint()
                return
            except TransactionConflictError:
                if time.monotonic() > end:
                    raise
            await asyncio.sleep(_RETRY_SECONDS)

    async def _change_files(self, new: Path, copied: str) -> None:
        """Put the new file in the old one's place; the replica begins a generation with it."""
        link = self._link
        if link is not None:
            await link.stop(_SHIP_SECONDS, insists=False)
        failures = await self._healer.replace(
            lambda: _swap(new, self._settings.database_path, copied), _READERS_SECONDS
        )
        if failures:
            raise DatabaseFailedError(
                f"the compacted file could not take the database's place: {failures}",
                hint="The database is as it was. Try again when less is going on.",
            )

    async def _follow_again(self) -> None:
        """Start the replicator that ended for the change; writers do not wait for its store."""
        if self._link is not None and self._link.has_ended:
            await self._link.begin_anew()


def _size(path: Path) -> int:
    return path.stat().st_size


def _swap(new: Path, database: Path, copied: str) -> None:
    """Give the new file the old one's name, in one step: there is a database at every moment.

    ``copied``: the hash of the headers that the old file had when it was copied. A SELECT may write
    all the same (nextval), and closing the database has folded that into the old file.
    """
    if headers_sha256(database) != copied:
        new.unlink()
        raise OSError("something was written meanwhile, perhaps by nextval() in a SELECT")
    state = LocalState.read(database)
    if state is not None:  # a start after a crash must know the new file
        LocalState.of_restored(state.replica_id, new, state.commits, state.time_us, state).write(
            database
        )
    log = database.with_name(database.name + ".wal")
    if log.exists() and log.stat().st_size:
        raise OSError(f"{log} holds transactions")
    replace_finished(new, database)
    with contextlib.suppress(FileNotFoundError):
        log.unlink()
    fsync_directory(database.parent)
