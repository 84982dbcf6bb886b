"""How much may be spilled on the volume of the database: two floors of free space stay.

DuckDB does not tell which statement a spill file belongs to, so that no principal can be charged for
it. Instead all of them together are bounded, by a setting of the engine that follows the free space.
"""

from __future__ import annotations

import asyncio
import shutil

import duckdb

from chronoduck.engine.database import DuckDBInstance
from chronoduck.errors import DuckDBException
from chronoduck.logs import get_logger

__all__ = ["SpillBound"]

_LOOK_SECONDS = 0.25
_FLOORS = 2
_GRAIN_BYTES = 4_000_000
"""A smaller difference is not worth a statement."""
_LEAST_BYTES = 1_000_000
_SPILLED = "SELECT coalesce(sum(size), 0) FROM duckdb_temporary_files()"


class SpillBound:
    """Lives on the event loop while the database is open; does nothing on a volume of its own."""

    def __init__(self, instance: DuckDBInstance) -> None:
        self._instance = instance
        self._floor = instance.settings.disk_floor
        self._task: asyncio.Task[None] | None = None
        self._log = get_logger("engine")
        self._set: tuple[int, int] = (-1, 0)
        """The opening of the instance for which the bound was set, and the bound."""

    def start(self) -> None:
        """Begin to follow the free space."""
        if self._floor:
            self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def bytes(self) -> int:
        """What all statements together may spill now."""
        generation, bound = self._set
        return bound if generation == self._instance.generation else self._instance.max_temp_bytes

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                if self._is_tight():
                    await asyncio.to_thread(self.look)
            except (OSError, RuntimeError, duckdb.Error, DuckDBException) as error:
                # Being reopened, or more was spilled meanwhile: the next look is soon.
                self._log.debug("spill_not_bounded", reason=str(error)[:200])

    def _is_tight(self) -> bool:
        most = self._instance.max_temp_bytes
        return self._left() < most or self.bytes != most

    def _left(self) -> int:
        """Return what may be written to the volume of the database before two floors are left."""
        directory, temp = (
            self._instance.settings.database_path.parent,
            self._instance.temp_directory,
        )
        if temp is None or temp.stat().st_dev != directory.stat().st_dev:
            return self._instance.max_temp_bytes
        return max(0, shutil.disk_usage(directory).free - _FLOORS * self._floor)

    def look(self) -> None:
        """Set the bound anew if the free space has changed; blocks.

        Raises:
            OSError: the volume does not answer.
            duckdb.Error: more is spilled than the new bound.
            DuckDBException: the instance is not open.
        """
        generation, most = self._instance.generation, self._instance.max_temp_bytes
        connection = self._instance.cursor()
        try:
            row = connection.execute(_SPILLED).fetchone()
            spilled = int(row[0]) if row else 0
            bound = max(_LEAST_BYTES, min(most, spilled + self._left()))
            is_near = abs(bound - self.bytes) < _GRAIN_BYTES and bound < most
            if bound == self.bytes or is_near:
                return
            connection.execute(f"SET GLOBAL max_temp_directory_size = '{bound}B'")
            self._set = generation, bound
        finally:
            connection.close()
