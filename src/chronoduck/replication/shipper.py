"""One step of the replica after the other: new generation, changed blocks, tail of the log."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor
from enum import StrEnum
from pathlib import Path

from chronoduck.engine.disk_format import (
    DatabaseFile,
    WalCursor,
    newest_iteration,
    read_header,
    read_wal,
    version_end,
    wal_owner,
)
from chronoduck.engine.offline import side_files
from chronoduck.engine.replacing import wal_path
from chronoduck.errors import DatabaseFormatError
from chronoduck.replication.archive import Archive
from chronoduck.replication.block_shipper import BlockShipper
from chronoduck.replication.block_table import BlockChange, BlockTable
from chronoduck.replication.clock_watch import ClockWatch
from chronoduck.replication.failures import ReplicaMismatchError
from chronoduck.replication.generation import Generation, Unsure
from chronoduck.replication.log_reader import LogReader, ReplayedLog
from chronoduck.replication.records import Base, Segment, generation_number, new_generation

__all__ = ["Shipper", "Step"]

_READ_BYTES = 32_000_000
_STALLED_STEPS = 10
_VERSION_BYTES = 256
"""More than the version record at the beginning of a log has."""


class Step(StrEnum):
    """What a step came to."""

    IDLE = "idle"
    """Everything is in the replica."""
    SHIPPED = "shipped"
    """Something was shipped; there may be more."""
    BUSY = "busy"
    """A checkpoint is about to end; ask again in a moment."""
    WAITING = "waiting"
    """A checkpoint is under way. What commits meanwhile is shipped when it has ended."""


class Shipper:
    """Makes the replica follow one database file, step by step. Use from one thread.

    The order inside a step is what makes it right: first the length of the log, then the blocks, then
    the headers once more. If they are the same as before, no block that the log's transactions refer
    to was given to anybody else meanwhile.
    """

    def __init__(
        self,
        database: Path,
        archive: Archive,
        executor: Executor,
        *,
        now_us: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._database = database
        self._archive = archive
        self._now_us = now_us
        self._clock = ClockWatch(now_us, monotonic)
        self._log = LogReader(wal_path(database))
        self._second_bytes = 0
        """Of the second WAL, while a checkpoint is under way."""
        self._file: DatabaseFile | None = None
        self.number = 0
        """Of the newest generation that is complete."""
        self.previous = ""
        """Its name."""
        self._spare_numbers = 0
        """Numbers to skip before the next generation: the store may hold one that its listing lacks."""
        self._unsure_base: Base | None = None
        self._stalled = 0
        self._is_final = False
        self.blocks = BlockShipper(archive, executor, on_progress)
        self.generation: Generation | None = None
        self.last_point_us = 0
        """Time of the newest restore point."""
        self.total_commits = 0
        """Transactions in the replica since it began."""
        self.shipped_bytes = 0
        """Of bases and segments, since this object was made."""

    # --- where to begin -----------------------------------------------------------------------

    def go_on(self, generation: Generation, table: BlockTable, last_point_us: int) -> None:
        """Continue a generation whose log was compared with the local one."""
        self.follow(table, generation.name, last_point_us, 0)
        self._spare_numbers = 0
        self.total_commits = generation.commits_before + generation.cursor.commits
        self.generation = generation
        self._log.open()

    def follow(
        self, table: BlockTable, previous: str, last_point_us: int, total_commits: int
    ) -> None:
        """Begin a new generation next, with what the replica holds already.

        The base of a generation between them may be in the store, if its writer died before it heard
        so, and the store's listing may lag behind: two generations must not have the same number.
        """
        self._spare_numbers = 1
        self.blocks.table = table
        self.remember(previous, last_point_us, total_commits)

    def remember(self, generation: str, last_point_us: int, total_commits: int) -> None:
        """Take note of what was shipped before, also when the store has lost it since.

        Numbers and times never go back: the next generation then names one that is not there.
        """
        number = generation_number(generation) if generation else 0
        if number > self.number or not self.previous:
            self.number, self.previous = number, generation
        self.last_point_us = max(self.last_point_us, last_point_us)
        self.total_commits = max(self.total_commits, total_commits)

    def name_packs(self, generation: str, first: int) -> None:
        """Count packs of a generation that goes on from ``first``."""
        self.blocks.name_packs(generation, first)

    def close(self) -> None:
        """Let go of the files."""
        self._log.close()
        if self._file is not None:
            self._file.close()
            self._file = None

    def take_as_final(self) -> None:
        """Ship the rest: the service has closed the database, or is dead.

        From now on a WAL that lacks shipped bytes is an error. (A live DuckDB may cut off a commit whose
        sync failed.) If the service died within a checkpoint, both WALs are shipped as one.
        """
        self._is_final = True

    def reset(self) -> None:
        """Forget what the replica holds: it is to be compared anew."""
        self.close()
        self.generation = None
        self._unsure_base = None
        self._stalled = 0
        self.blocks.reset()

    def begin_again(self) -> None:
        """Begin a new generation next, whose blocks are all where its table says."""
        self.generation = None
        self._unsure_base = None
        self._stalled = 0
        self._log.close()
        self.blocks.reset_scan()

    # --- a step -------------------------------------------------------------------------------

    def step(self) -> Step:
        """Ship what is new, up to a bounded piece of the log.

        Raises:
            StoreError: the store failed; call again, nothing is lost and nothing shipped twice.
            ReplicaMismatchError: the WAL changed after the database was closed.
            DatabaseFormatError: the file's headers are damaged.
        """
        self._second_bytes = 0
        file = self._current_file()
        if file is None:
            return Step.BUSY
        self._settle()
        headers = file.headers()
        generation = self.generation
        if generation is not None and generation.headers != headers:
            self._finish(generation)
            if not self._is_final and self._log.is_open and self._log.is_current():
                return Step.BUSY  # the checkpoint has yet to delete the log
            self._log.close()
            self.generation = generation = None
        if generation is None:
            return self._begin(file, headers)
        if not self._log.is_current() and not self._hold_log(file, generation):
            return Step.BUSY
        return self._ship_log(file, generation)

    def _settle(self) -> None:
        """Write again what the store may hold or not: nothing else may take its name or number."""
        if self._unsure_base is not None:
            self._write_base(self._unsure_base)
        generation = self.generation
        if generation is not None and generation.unsure is not None:
            self._write_unsure(generation, generation.unsure)

    def _current_file(self) -> DatabaseFile | None:
        if self._file is not None and not self._file.is_current():
            self._file.close()
            self._file = None
            self.generation = None  # another file was put in its place
            self._log.close()
            self.blocks.reset_scan()
        if self._file is None:
            try:
                self._file = DatabaseFile(self._database)
            except FileNotFoundError:
                return None
        return self._file

    def _hold_log(self, file: DatabaseFile, generation: Generation) -> bool:
        """Hold the log that appeared; False when the one that was held went away instead."""
        if self._log.is_open and generation.cursor.commits == 0:
            self._log.close()  # DuckDB deletes a log without transactions when it opens the file
        if self._log.is_open and self._is_rewritten(file, generation):
            self._log.close()
        if self._log.is_open:
            # The log was deleted and the headers are as before: they were read a moment too early.
            self._stalled += 1
            if self._stalled > _STALLED_STEPS:
                self._start_over()
            return False
        return self._log.open()

    def _is_rewritten(self, file: DatabaseFile, generation: Generation) -> bool:
        """Whether what was shipped has the name in another file, as when DuckDB has joined two WALs."""
        log = LogReader(wal_path(self._database))
        shipped = generation.cursor.offset, generation.digest.hexdigest()
        return log.matches(*shipped) is not None and file.headers() == generation.headers

    def _start_over(self) -> None:
        """Give this generation up: the local log is not the one that it holds.

        Raises:
            ReplicaMismatchError: nobody has the database open who could have changed it.
        """
        if self._is_final:
            raise ReplicaMismatchError(
                f"{wal_path(self._database)} was changed after the service died; it is not shipped",
                hint="Run `chronoduck recover`, which restores what was shipped before.",
            )
        self.begin_again()

    # --- a new generation ---------------------------------------------------------------------

    def _begin(self, file: DatabaseFile, headers: bytes) -> Step:
        try:
            root = read_header(headers).meta_block
        except DatabaseFormatError:
            if headers != file.headers():
                return Step.BUSY  # it was being written
            raise
        self._log.close()  # what is held may be the log of a checkpoint before
        if self._log.open() and self._log.size:
            log = read_wal(self._log.read(0, self._log.size), WalCursor())
            if log.checkpoint == root:
                if not self._is_final:
                    self._log.close()
                    return Step.BUSY  # the checkpoint has yet to delete its log
                self._join_logs()
        name = new_generation(self.number + 1 + self._spare_numbers)
        self.blocks.name_packs(name, 0)
        written_us = file.stat().st_mtime_ns // 1000
        self.blocks.ship_changes(file)
        if file.headers() != headers:
            return Step.BUSY  # the next checkpoint came first; what was shipped is known
        time_us, clock_us = self._base_time(written_us)
        self._unsure_base = Base(
            name,
            time_us,
            self.total_commits,
            headers,
            self.blocks.table.copy(),
            self.previous,
            clock_us,
        )
        self.blocks.pending.clear()
        self._write_base(self._unsure_base)
        return Step.SHIPPED

    def _write_base(self, base: Base) -> None:
        self.shipped_bytes += self._archive.write_base(base)
        self._unsure_base = None
        self._spare_numbers = 0
        self.number, self.previous = generation_number(base.generation), base.generation
        self.last_point_us = base.time_us
        self.generation = Generation(
            base.generation, base.headers, base.commits, WalCursor(), hashlib.sha256()
        )

    @property
    def clock_step_us(self) -> int:
        """By how much the clock was set, as far as no segment tells of it yet."""
        return self._clock.step_us

    def _base_time(self, written_us: int) -> tuple[int, int]:
        """Return when a file became the newest state, and what the clock said if that was set back.

        That is when it was written. A file that an operator put back may be older than the points before
        it: it became the newest state now, and is listed with another millisecond than they are.
        """
        if written_us > self.last_point_us:
            return written_us, 0
        now_us = self._now_us()
        if now_us >= self.last_point_us + 1000:
            return now_us, 0
        return self.last_point_us + 1, written_us

    def _next_time(self, time_us: int) -> int:
        return max(time_us, self.last_point_us + 1)

    def _finish(self, generation: Generation) -> None:
        """Ship what a deleted log still holds, if it needs no blocks: those may be gone."""
        while (found := self._read_commits(generation, self._log.size)) is not None:
            data, cursor = found
            if cursor.commits == generation.cursor.commits or cursor.needs_blocks:
                return
            self._write_segment(generation, data, cursor, self._now_us(), ())

    # --- the tail of the log ------------------------------------------------------------------

    def _ship_log(self, file: DatabaseFile, generation: Generation) -> Step:
        size, observed_us = self._log.size, self._clock.now_us()
        start = generation.cursor.offset
        if size < start:
            self._start_over()  # a commit that failed was taken back after it was shipped
            return Step.BUSY
        found = self._read_commits(generation, size)
        if found is None:
            return Step.BUSY  # the checkpoint has yet to delete the log
        data, cursor = found
        if cursor.needs_blocks:
            self.blocks.reset_scan()
        self.blocks.ship_changes(file)
        if file.headers() != generation.headers:
            return Step.BUSY
        if cursor.commits == generation.cursor.commits:
            if cursor.checkpoint is not None:
                return self._pass_checkpoint(file, generation)
            return self._check_stall(generation, size)
        self._stalled = 0
        changes = tuple(self.blocks.pending.values())
        self._write_segment(generation, data, cursor, observed_us, changes)
        return Step.SHIPPED if cursor.offset < size else Step.IDLE

    def _read_commits(self, generation: Generation, size: int) -> tuple[bytes, WalCursor] | None:
        """Return the next piece of the log that ends with a transaction's end.

        None when the log says that it belongs to another checkpoint: it must not get into this
        generation, because no start would replay it on that base.
        """
        start = generation.cursor.offset
        length = _READ_BYTES
        while True:
            data = self._log.read(start, min(size, start + length))
            owner = None if start else wal_owner(data)
            if owner is not None and owner[1] != newest_iteration(generation.headers):
                return None
            cursor = read_wal(data, generation.cursor)
            if cursor.offset > start or start + length >= size:
                return data, cursor
            length *= 2

    def _pass_checkpoint(self, file: DatabaseFile, generation: Generation) -> Step:
        """Go on where the first WAL ends with a checkpoint that is, or was, under way."""
        if self._is_final:
            self._join_logs()
            return Step.BUSY
        try:
            with side_files(self._database)[1].open("rb") as second:
                empty = version_end(second.read(_VERSION_BYTES))
                self._second_bytes = max(0, os.fstat(second.fileno()).st_size - empty)
        except FileNotFoundError:
            if file.headers() != generation.headers:
                return Step.BUSY  # it ended, and the second WAL has become the first
        return Step.WAITING if self._second_bytes else Step.IDLE

    def _join_logs(self) -> None:
        self._log.close()
        self._log = ReplayedLog(self._database)
        self._log.open()

    def _check_stall(self, generation: Generation, size: int) -> Step:
        """Tell a transaction under way from a log that is not the one that was shipped."""
        if size == generation.cursor.offset:
            self._stalled = 0
            return Step.IDLE
        self._stalled += 1
        if self._stalled % _STALLED_STEPS == 0:
            local = self._log.sha256(generation.cursor.offset)
            if local.digest() != generation.digest.digest():
                self._start_over()
                return Step.BUSY
        return Step.IDLE

    def _write_segment(
        self,
        generation: Generation,
        data: bytes,
        cursor: WalCursor,
        observed_us: int,
        changes: tuple[BlockChange, ...],
    ) -> None:
        start = generation.cursor.offset
        piece = data[: cursor.offset - start]
        digest = generation.digest.copy()
        digest.update(piece)
        time_us = self._next_time(observed_us)
        segment = Segment(
            generation.name,
            start,
            cursor.offset,
            time_us,
            cursor.commits,
            digest.hexdigest(),
            changes,
            len(self.blocks.table),
            observed_us if observed_us != time_us else 0,
            self._clock.take_step_us(),
        )
        generation.unsure = Unsure(segment, piece, cursor, digest)
        self.blocks.forget_pending(changes)
        self._write_unsure(generation, generation.unsure)

    def _write_unsure(self, generation: Generation, unsure: Unsure) -> None:
        segment = unsure.segment
        self.shipped_bytes += self._archive.write_segment(segment, unsure.piece)
        generation.unsure = None
        generation.cursor, generation.digest = unsure.cursor, unsure.digest
        self.last_point_us = segment.time_us
        self.total_commits = generation.commits_before + unsure.cursor.commits

    @property
    def unshipped_bytes(self) -> int:
        """Bytes of the local WALs that are not in the replica."""
        done = self.generation.cursor.offset if self.generation is not None else 0
        return max(0, self._log.size - done) + self._second_bytes
