"""Writes are refused before the disk is full, and a ballast is let go when it is all the same.

A full disk loses nothing that was committed, but DuckDB can then neither commit nor checkpoint, and a
bulk insert that failed leaves the file grown. So: below a floor of free space nothing more is written,
reads go on, and writes go on by themselves once there is space again.

Free blocks inside the file count for the floor like free space of the volume: rows take them first, and
after a DELETE they may be all that there is. But the WAL, and what a checkpoint writes before it gives
anything back, need the volume: a quarter of the floor must be free there in any case.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from chronoduck.engine.checkpoint_room import FileSpace
from chronoduck.errors import DiskFullError, DuckDBException
from chronoduck.logs import get_logger
from chronoduck.settings import Settings
from chronoduck.units import format_bytes

__all__ = ["DiskFloorError", "DiskGuard", "VolumeFloor"]

_LOOK_SECONDS = 0.25
_RECLAIM_SECONDS, _RECLAIM_LONGEST_SECONDS = 3.0, 60.0
"""The first and the longest wait between two attempts to give space back."""
_MORE_THAN_FLOOR = 1.05
"""Writes go on from so many floors of free space on: not on and off with every file."""
_ON_VOLUME = 0.25
"""The part of the floor that must be free on the volume itself."""
_ASKED_FLOORS = 2.2
"""Below so many floors the engine is asked what is free inside the file."""


class DiskFloorError(DiskFullError):
    """So little space is left that only reads are run."""

    code = "disk_floor"
    title = "Too little disk space for writes"
    retryable = True


class VolumeFloor:
    """Refuses to write what would leave too little space on the volume of a directory.

    It asks the volume each time (2 µs): others fill it, too. Safe from any thread.
    """

    def __init__(self, directory: Path, floor_bytes: int) -> None:
        self._directory = directory
        self._floor = floor_bytes

    def check(self, count: int) -> None:
        """Refuse so many bytes more when less than the floor would stay free.

        Raises:
            DiskFloorError: it would.
        """
        if not self._floor:
            return
        try:
            free = shutil.disk_usage(self._directory).free
        except OSError:
            return  # who writes there finds out
        if free - count < self._floor:
            raise DiskFloorError(
                f"the volume for this has {format_bytes(free)} free, of which "
                f"{format_bytes(self._floor)} are kept",
                hint="Ask for less. Operators: free space on the volume or enlarge it; "
                "DUCKDB_DISK_FLOOR sets how much is kept free.",
                operator_detail=f"the volume of {self._directory} has {free} bytes free",
            )


class DiskGuard:
    """Looks at the free space of the database's volume, on the event loop."""

    def __init__(
        self,
        settings: Settings,
        reclaim: Callable[[], Awaitable[None]],
        ask_file: Callable[[], FileSpace] = FileSpace,
    ) -> None:
        """``reclaim`` gives back what a failed write left in the file; called until it succeeds.

        ``ask_file`` returns what the file holds; it blocks, and is called in a thread.
        """
        self._ask_file = ask_file
        self._asked: asyncio.Future[FileSpace] | None = None
        self.file: FileSpace | None = None
        """What the file held a moment ago; asked only while the volume has little."""
        self._directory = settings.database_path.parent
        self._files = [
            settings.database_path,
            settings.database_path.with_name(settings.database_path.name + ".wal"),
        ]
        self._floor = settings.disk_floor
        self._ballast = _Ballast(
            settings.database_path.with_name(settings.database_path.name + ".ballast"),
            settings.ballast_size,
        )
        self._reclaim = reclaim
        self._task: asyncio.Task[None] | None = None
        self._at_once: asyncio.Task[None] | None = None
        self._log = get_logger("engine")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chronoduck-ballast")
        self._has_failed = False
        self._may_be_full = False
        self._reclaim_after = 0.0
        self._reclaim_wait = _RECLAIM_SECONDS
        self.free_bytes = 0
        self.file_bytes = 0
        """What the database and its WAL took at the last look."""
        self.is_refusing = False
        self.writers_stopped = 0
        """How many may not write for now, because they fill the volume."""
        self.also_look: Callable[[], None] = lambda: None
        """Is called at each look, in a thread."""
        self.on_look: Callable[[int], None] = lambda free_bytes: None
        """Is told at each look what is free, the ballast taken off."""

    async def start(self) -> None:
        """Look, and go on to look."""
        if self._floor:
            await asyncio.to_thread(self._ask_at_start)
            await self._in_thread(self.look)
            await self._in_thread(self.tend)
            self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """End; the ballast is only there while the database is open."""
        if self._task is not None:
            tasks = [task for task in (self._task, self._at_once) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._task = None
            await self._in_thread(self._ballast.release)  # after what that thread still does
            self._thread.shutdown(wait=False)

    def check_write(self) -> None:
        """Refuse a write while there is too little space.

        Raises:
            DiskFloorError: there is.
        """
        if self.is_refusing:
            raise DiskFloorError(
                f"the volume of the database has {format_bytes(self.free_bytes)} free, and the file "
                f"{format_bytes(self.inside_bytes)} inside. Writes need "
                f"{format_bytes(self._floor)} together, and {format_bytes(self._reserve)} of that on "
                "the volume: only reads, DELETE, DROP and CHECKPOINT are run",
                hint="DROP or DELETE what is not needed, then run CHECKPOINT; or free space on the "
                "volume or enlarge it. Writes then go on by themselves. DUCKDB_DISK_FLOOR sets how "
                "much is kept free.",
            )

    def note_full(self) -> None:
        """Take in that a write has failed for want of space; it may be the spill volume's."""
        if self._floor and (self._at_once is None or self._at_once.done()):
            self._at_once = asyncio.get_running_loop().create_task(self._look_after_failure())

    async def _look_after_failure(self) -> None:
        await self._in_thread(self.look)
        self._has_failed = self._has_failed or self.is_refusing

    def note_end_of_volume(self) -> None:
        """Let all of the ballast go if a checkpoint or an opening may have failed for want of space.

        What failed is tried again by whoever ran it, and needs that space.
        """
        self._may_be_full = True

    @property
    def _reserve(self) -> int:
        return max(1, int(self._floor * _ON_VOLUME))

    @property
    def inside_bytes(self) -> int:
        """What was free inside the file a moment ago, as far as anybody asked."""
        return 0 if self.file is None else self.file.free_bytes

    @property
    def room_bytes(self) -> int:
        """What was free at the last look, on the volume and inside the file."""
        return self.usable_bytes + self.inside_bytes

    @property
    def usable_bytes(self) -> int:
        """What was free at the last look, without what the ballast must have again."""
        return self.free_bytes - self._ballast.owed_bytes

    def look(self) -> None:
        """Compare the free space with the floor; blocks."""
        try:
            self.free_bytes = shutil.disk_usage(self._directory).free
            file, (size, wal_size) = self.file, map(_size, self._files)
            self.file_bytes = wal_size + (size if file is None else file.used_bytes)
        except OSError:
            return  # an unmounted volume is the engine's to notice
        floors = min(self.room_bytes / max(1, self._floor), self.usable_bytes / self._reserve)
        if self.is_refusing and floors >= _MORE_THAN_FLOOR:
            self.is_refusing = self._has_failed = False
            self._log.warning(
                "writes_go_on", free_bytes=self.free_bytes, free_inside_bytes=self.inside_bytes
            )
        elif not self.is_refusing and floors < 1:
            self.is_refusing = True
            self._log.error(
                "writes_refused",
                free_bytes=self.free_bytes,
                free_inside_bytes=self.inside_bytes,
                floor_bytes=self._floor,
            )

    def _ask_at_start(self) -> None:
        """Know what is inside before the first look, which would refuse writes for a moment."""
        with contextlib.suppress(OSError, DuckDBException):
            if shutil.disk_usage(self._directory).free < _ASKED_FLOORS * self._floor:
                self.file = self._ask_file()

    def _ask_inside(self) -> None:
        """Take the engine's answer if it is there, and ask again; never waits for it."""
        if self.usable_bytes >= _ASKED_FLOORS * self._floor:
            self._asked = self.file = None
            return
        if self._asked is not None and self._asked.done():
            # An error: nobody can tell, as long as the instance is being opened again.
            self.file = None if self._asked.exception() else self._asked.result()
            self._asked = None
        if self._asked is None:
            self._asked = asyncio.ensure_future(asyncio.to_thread(self._ask_file))

    def tend(self) -> None:
        """Let the ballast go, or take its space again, as the last look says; blocks."""
        may_be_full, self._may_be_full = self._may_be_full, False
        if may_be_full and self.free_bytes < self._ballast.size:
            self._ballast.release()
        elif self.is_refusing and self.free_bytes < self._ballast.size / 2:
            self._ballast.shrink()
        elif not self.is_refusing and self.free_bytes >= self._floor + self._ballast.size:
            self._ballast.place()

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                self._ask_inside()
                await self._in_thread(self.look)
                await self._in_thread(self.also_look)
                self.on_look(self.usable_bytes)
                await self._in_thread(self.tend)
                if self.is_refusing and self._has_failed:
                    await self._try_to_reclaim()
            except (DuckDBException, OSError, RuntimeError):
                # A thread that cannot be started, for one. Without this task there is no floor.
                self._log.exception("disk_look_failed")

    async def _try_to_reclaim(self) -> None:
        """Give space back. Writes are refused until this succeeds, so no failed write repeats it."""
        now = time.monotonic()
        if now < self._reclaim_after:
            return
        self._reclaim_after = now + self._reclaim_wait
        self._has_failed = False
        await self._in_thread(self._ballast.release)
        try:
            await self._reclaim()
        except DuckDBException as error:
            # A checkpoint that meets the full disk ends the instance: not too often.
            self._reclaim_wait = min(2 * self._reclaim_wait, _RECLAIM_LONGEST_SECONDS)
            self._has_failed = True
            self._log.warning("space_not_reclaimed", error=error.operator_detail)
        else:
            self._reclaim_wait = _RECLAIM_SECONDS

    def get_status(self) -> dict[str, Any]:
        """Return the free space, the floor and whether writes are refused."""
        return {
            "free_bytes": self.free_bytes,
            "free_inside_bytes": self.inside_bytes,
            "floor_bytes": self._floor,
            "is_refusing_writes": self.is_refusing,
            "writers_stopped": self.writers_stopped,
        }


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


class _Ballast:
    """A file that only takes up space, to be let go when there is no other."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self.size = size
        self.owed_bytes = 0
        """What must be free again beside the floor, once it was let go."""

    def place(self) -> None:
        """Take the space, if it is not taken."""
        if not self.size or _size(self._path) == self.size:
            return
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.posix_fallocate(descriptor, 0, self.size)
                os.ftruncate(descriptor, self.size)
            finally:
                os.close(descriptor)
            self.owed_bytes = 0
        except OSError:
            self.release()

    def shrink(self) -> None:
        """Give half of the space back. Writes under way may eat it: the rest is for what follows them."""
        with contextlib.suppress(OSError):
            if _size(self._path) > self.size // 2:
                os.truncate(self._path, self.size // 2)
                self.owed_bytes = self.size - self.size // 2

    def release(self) -> None:
        """Give all of the space back."""
        with contextlib.suppress(OSError):
            self._path.unlink()
            self.owed_bytes = self.size
