"""How much space a CHECKPOINT needs: what it may write before it gives anything back.

One that meets the end of the volume ends the instance. One that is refused although it fits leaves
what a DELETE or DROP has freed unusable, and below the disk floor there is no other way out. So a cheap
bound comes first, and only when that does not fit the tables are asked what would really be written.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb

from chronoduck.engine.database import Connection, DuckDBInstance
from chronoduck.engine.table_blocks import blocks_of
from chronoduck.engine.tables import located
from chronoduck.errors import DiskFullError, DuckDBException
from chronoduck.sql.engine_errors import translate

__all__ = [
    "CheckpointRoom",
    "FileSpace",
    "LoggedRows",
    "ask_number",
    "file_space",
    "no_room",
    "written_bytes",
]

_WRITTEN_AGAIN = 64
_ENOUGH_FLOORS = 4
_FILE_SPACE = (
    "SELECT used_blocks * block_size, free_blocks * block_size FROM pragma_database_size() "
    "WHERE database_name = current_database()"
)
_DELETED_BYTES = 8
"""What a deleted row takes in the WAL, in a DELETE of many. In the file it is less than a byte."""
_GROUP_ROWS = 122_880
_NEIGHBORS = 4
"""DuckDB merges at most so many row groups, when they then become fewer."""
_MERGED_FROM, _LAST_MERGED_FROM = 0.5, 0.95
"""Missing rows, in row groups, from which on neighbors count as merged; DuckDB needs 1.0 of them.
The second holds for neighbors of the last row group, which lacks rows that it never had."""
_MARGIN = 1.25
"""Rows are not all of one size."""
_MOST_ROWS, _MOST_TABLES = 300_000_000, 500
"""Of more than that nothing is asked: it would take seconds."""
_MOST_SEGMENTS = 500_000
"""Row groups times columns: pragma_storage_info has a row for each, at least, and binds them all."""
_LOOK_SECONDS = 2.0
_INTERRUPT_AGAIN_SECONDS = 0.05
"""An interrupt between two statements is lost."""
_FAILED_AGAIN_SECONDS = 60.0
"""How long the answer of a look that failed or took too long is not asked again."""
_TABLES = (
    "SELECT schema_name, table_name, estimated_size, column_count, table_oid IN ("
    "SELECT table_oid FROM system.main.duckdb_columns() WHERE lower(column_name) = 'rowid' "
    "AND database_name = current_database()) FROM system.main.duckdb_tables() "
    "WHERE NOT internal AND NOT temporary AND database_name = current_database()"
)
_BLOCK_SIZE = (
    "SELECT block_size FROM pragma_database_size() WHERE database_name = current_database()"
)
_GROUPS = "SELECT count(*) FROM {} GROUP BY rowid // {} ORDER BY min(rowid) LIMIT {}"
_SPARE_GROUPS = 8
"""Row groups beyond those that a table's rows fill; of more than that something is not as we think."""


@dataclass(frozen=True)
class LoggedRows:
    """What the WAL has of changes of rows."""

    deleted: int = 0
    updated: int = 0


class CheckpointRoom:
    """Whether a checkpoint fits; ``fits`` blocks and is safe from any thread."""

    def __init__(self, instance: DuckDBInstance, rows: Callable[[], LoggedRows]) -> None:
        self._instance = instance
        self._rows = rows
        self._weighed: tuple[tuple[int, int, LoggedRows], int | None, float] | None = None
        """What was last found out from the tables, of which WAL, and until when that counts."""
        self._looking = threading.Lock()
        self._asking: asyncio.Future[bool] | None = None

    async def has_room(self, wal_bytes: Callable[[], int], *, is_rescue: bool = False) -> bool:
        """Return what ``fits`` says, asked in a thread; all who ask at one time share its answer."""
        if is_rescue:
            return await asyncio.to_thread(lambda: self.fits(wal_bytes(), is_rescue=True))
        if self._asking is None or self._asking.done():
            asking = asyncio.to_thread(lambda: self.fits(wal_bytes()))
            self._asking = asyncio.ensure_future(asking)
        return await asyncio.shield(self._asking)

    def fits(self, wal_bytes: int, *, is_rescue: bool = False) -> bool:
        """Whether a checkpoint can write all that it may have to, in the space that is left.

        One that cannot ends the instance, and the next one does so again: nobody could read any more.
        So a look that fails says no. A rescue (of a WAL that no start could replay) is worth a risk: it
        needs only the space of the WAL.
        """
        settings = self._instance.settings
        if not (settings.disk_floor and wal_bytes):
            return True
        try:
            file = file_space(self._instance)
            room = file.free_bytes + _free_on_volume(self._instance)
        except (DuckDBException, OSError):
            return not self._is_open()  # what is not open runs none, and says why itself
        if is_rescue:
            return room >= wal_bytes
        enough = _ENOUGH_FLOORS * settings.disk_floor
        bound = min(file.used_bytes, _WRITTEN_AGAIN * wal_bytes, enough)
        if room >= wal_bytes + bound:
            return True
        written = self._weigh(wal_bytes, file.used_bytes)
        return written is not None and room >= written

    def _is_open(self) -> bool:
        try:
            self._instance.cursor().close()
        except DuckDBException:
            return False
        return True

    def _weigh(self, wal_bytes: int, used: int) -> int | None:
        """Return how much is written, as the tables show; None when that cannot be found out.

        A checkpoint that was refused is asked for again and again, and the answer stays the same.
        """
        rows = self._rows()
        key = (self._instance.generation, wal_bytes, rows)
        known = self._weighed
        if known is not None and known[0] == key and time.monotonic() < known[2]:
            return known[1]
        if not self._looking.acquire(blocking=False):
            return None  # one look at a time
        try:
            written, counts_until = self._look(wal_bytes, rows, used), float("inf")
        except (DuckDBException, RuntimeError):  # or no thread can be started
            written, counts_until = None, time.monotonic() + _FAILED_AGAIN_SECONDS
        finally:
            self._looking.release()
        self._weighed = key, written, counts_until
        return written

    def _look(self, wal_bytes: int, rows: LoggedRows, used: int) -> int | None:
        connection = self._instance.cursor()
        try:
            with _interrupted_after(_LOOK_SECONDS, connection):
                return written_bytes(connection, wal_bytes, rows, used)
        finally:
            connection.close()


@contextmanager
def _interrupted_after(seconds: float, connection: Connection) -> Iterator[None]:
    """End what the connection runs then, and whatever it begins later in the block."""
    is_over = threading.Event()

    def watch() -> None:
        wait = seconds
        while not is_over.wait(wait):
            connection.interrupt()
            wait = _INTERRUPT_AGAIN_SECONDS

    watcher = threading.Thread(target=watch, name="checkpoint-room", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def written_bytes(
    connection: Connection, wal_bytes: int, rows: LoggedRows, used: int
) -> int | None:
    """Return at most how much a checkpoint writes, as the tables show; None: they are too large.

    Raises:
        DuckDBException: DuckDB refused.
    """
    try:
        connection.execute("BEGIN")  # no table is dropped or altered between two of the looks
        try:
            found = _tables_written(connection)
        finally:
            connection.execute("ROLLBACK")
    except (duckdb.Error, RuntimeError) as error:
        raise translate(error) from error
    if found is None:
        return None
    again, in_tables = found
    deleted_bytes = min(wal_bytes, _DELETED_BYTES * rows.deleted)
    other_bytes = wal_bytes - deleted_bytes
    # A row that is updated has a whole column of its row group written again: of a few rows, each in
    # another row group, that may be more than this. It keeps no WAL of many updates from a checkpoint.
    if rows.updated:
        again += _WRITTEN_AGAIN * other_bytes
    # What is in no table is indexes and lists of what is where: written again as a whole, at worst.
    again += max(0, used - in_tables)
    return other_bytes + deleted_bytes // _DELETED_BYTES + min(used, again)


def _tables_written(connection: Connection) -> tuple[int, int] | None:
    """Return the bytes of tables that are written again, and all that tables hold."""
    tables = connection.execute(_TABLES).fetchall()
    segments = sum((size // _GROUP_ROWS + 1) * columns for _, _, size, columns, _ in tables)
    if (
        len(tables) > _MOST_TABLES
        or sum(size for _, _, size, _, _ in tables) > _MOST_ROWS
        or segments > _MOST_SEGMENTS
    ):
        return None
    block = _number(connection, _BLOCK_SIZE)
    again = in_tables = 0
    for schema, name, size, _, has_rowid in tables:
        place = located(connection, schema, name)
        counting = blocks_of(schema, name)  # without it, all of it counts as written again, below
        held = block * _number(connection, counting) if counting else 0
        in_tables += held
        if has_rowid:  # a column of that name hides where the rows are: all of it, at worst
            again += held
            continue
        most = 2 * (size // _GROUP_ROWS) + _SPARE_GROUPS
        groups = connection.execute(_GROUPS.format(place, _GROUP_ROWS, most + 1)).fetchall()
        if len(groups) > most:
            return None
        again += _again(held, size, [count for (count,) in groups])
    return again, in_tables


def _again(held_bytes: int, rows: int, live: list[int]) -> int:
    """Return the bytes of a table that are written again.

    ``rows`` are in its blocks, with the deleted ones; ``live``: those left of each row group in turn.
    Written are its last row group, to which rows are added, and row groups that are merged because
    many of their rows were deleted. What an index forbids to be merged counts, too.
    """
    count = len(live)
    if not count:
        return 0
    is_written = [False] * (count - 1) + [True]
    for first in range(count):
        missing = 0
        for last in range(first, min(count, first + _NEIGHBORS)):
            missing += _GROUP_ROWS - live[last]
            least = _LAST_MERGED_FROM if last == count - 1 else _MERGED_FROM
            if last > first and missing >= least * _GROUP_ROWS:
                is_written[first : last + 1] = [True] * (last + 1 - first)
    written = sum(left for left, again in zip(live, is_written, strict=True) if again)
    return int(_MARGIN * held_bytes * written / max(1, rows, sum(live)))


@dataclass(frozen=True)
class FileSpace:
    """What the database file's blocks hold, in bytes; without its WAL."""

    used_bytes: int = 0
    free_bytes: int = 0
    """Of blocks that hold nothing; the next rows take them."""


def file_space(instance: DuckDBInstance) -> FileSpace:
    """Return what the file holds, as the engine counts it.

    Raises:
        DuckDBException: DuckDB refused.
    """
    connection = instance.cursor()
    try:
        row = connection.execute(_FILE_SPACE).fetchone()
    except duckdb.Error as error:
        raise translate(error) from error
    finally:
        connection.close()
    return FileSpace(int(row[0]), int(row[1])) if row else FileSpace()


def no_room() -> DiskFullError:
    """Return the error of a checkpoint that may not fit."""
    return DiskFullError(
        "there may be too little space for a checkpoint",
        hint="Free space on the volume or enlarge it, or drop a table and try again.",
    )


def ask_number(instance: DuckDBInstance, sql: str) -> int:
    """Return the first value of a statement, 0 when it has none.

    Raises:
        DuckDBException: DuckDB refused.
    """
    connection = instance.cursor()
    try:
        return _number(connection, sql)
    except duckdb.Error as error:
        raise translate(error) from error
    finally:
        connection.close()


def _number(connection: Connection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    return int(row[0]) if row else 0


def _free_on_volume(instance: DuckDBInstance) -> int:
    return shutil.disk_usage(instance.settings.database_path.parent).free
