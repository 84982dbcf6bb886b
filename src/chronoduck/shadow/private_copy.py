"""The private copy: the database file and a prefix of its WAL, brought up to date by blocks."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from chronoduck.engine.disk_format import (
    BLOCK_BYTES,
    HEADER_BYTES,
    DatabaseFile,
    is_block_intact,
)
from chronoduck.shadow import owned_directory
from chronoduck.shadow.held_wal import HeldWal

__all__ = ["PrivateCopy"]

_FICLONE = 0x40049409
_SLICE_BLOCKS = 64
_UNKNOWN = 0
"""Stands for a block that is not in the copy as it is in the file; a real checksum of 0 costs a copy."""
_TIME_GRAIN_NS = 50_000_000
_WAL_BYTES = 8_000_000
_EMPTY = bytes(BLOCK_BYTES)


class PrivateCopy:
    """Belongs to one database file. Blocks are compared by the checksum that each begins with."""

    def __init__(self, database: Path, directory: Path) -> None:
        """Remove what an earlier process left, and begin empty.

        Raises:
            FileExistsError: something is there that no shadow made.
        """
        self.directory = directory
        # The WAL may name the database, and DuckDB takes the name from the file's.
        self.path = directory / database.name
        self.wal_path = directory / (database.name + ".wal")
        self._checksums: array.array[int] = array.array("Q")
        self._scanned: tuple[int, int] | None = None
        """Time and size of the file when every block was compared."""
        self.wal_offset = 0
        self.is_pristine = False
        """Whether file and WAL are what was copied: no child has written to them."""
        self.headers = b""
        """Of the file that was copied."""
        owned_directory.create(directory)

    def remove(self) -> None:
        """Delete the directory."""
        owned_directory.remove_own(self.directory)

    def drop(self) -> None:
        """Give the space back and begin empty again."""
        self.forget()
        shutil.rmtree(self.directory / "spill", ignore_errors=True)
        for path in self.directory.glob(self.path.name + "*"):
            with contextlib.suppress(OSError):
                path.unlink()

    def forget(self) -> None:
        """Trust nothing of what is there: a child died while it wrote."""
        self._checksums = array.array("Q")
        self._scanned = None
        self.wal_offset = 0
        self.is_pristine = False

    def can_clone_from(self, database: Path) -> bool:
        """Whether the file system can share a file's extents with its copy."""
        try:
            if database.stat().st_dev != self.directory.stat().st_dev:
                return False
            source, target = self.directory / "probe", self.directory / "probe.clone"
            source.write_bytes(bytes(4096))
            with source.open("rb") as old, target.open("wb") as new:
                fcntl.ioctl(new, _FICLONE, old.fileno())
        except OSError:
            return False
        finally:
            for path in self.directory.glob("probe*"):
                path.unlink()
        return True

    @property
    def size(self) -> int:
        """Bytes of the copied file."""
        return len(self._checksums) * BLOCK_BYTES

    def missing_bytes(self, file: DatabaseFile) -> int:
        """Return how much larger the copy has to grow."""
        try:
            have = self.path.stat().st_size
        except FileNotFoundError:
            have = 0
        return max(0, file.stat().st_size - have)

    # --- the file -----------------------------------------------------------------------------

    def copy_blocks(self, file: DatabaseFile) -> Iterator[None]:
        """Copy the blocks that differ; yields between slices, so that the caller may rest or stop."""
        state = file.stat()
        scan = (state.st_mtime_ns, state.st_size)
        if scan == self._scanned:
            return
        self._scanned = None
        if not self._checksums and self._clone(file):
            yield
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield from self._copy_changes(file, descriptor)
            os.ftruncate(descriptor, HEADER_BYTES + len(self._checksums) * BLOCK_BYTES)
        finally:
            os.close(descriptor)
        later = file.stat()
        is_settled = time.time_ns() - later.st_mtime_ns > _TIME_GRAIN_NS
        if (later.st_mtime_ns, later.st_size) == scan and is_settled:
            self._scanned = scan

    def look_again(self) -> None:
        """Look at every block next time, whatever the file's time says.

        A write sets the time before it copies its data: on a busy machine the blocks of a transaction may
        arrive long after that. They are there when its end is in the WAL.
        """
        self._scanned = None

    def _copy_changes(self, file: DatabaseFile, descriptor: int) -> Iterator[None]:
        checksums = self._checksums
        count = file.block_count
        del checksums[count:]
        checksums.extend([_UNKNOWN] * (count - len(checksums)))
        copied = 0
        for number, stored in enumerate(file.checksums(count)):
            if stored == checksums[number] and stored != _UNKNOWN:
                continue
            block = file.block(number)
            # A block in the middle of being written belongs to no transaction of the WAL yet.
            is_whole = is_block_intact(block)
            if not is_whole and block == _EMPTY:
                continue
            os.pwrite(descriptor, block, HEADER_BYTES + number * BLOCK_BYTES)
            checksums[number] = int.from_bytes(block[:8], "little") if is_whole else _UNKNOWN
            copied += 1
            if copied % _SLICE_BLOCKS == 0:
                yield

    def _clone(self, file: DatabaseFile) -> bool:
        """Share the file's extents, where the file system can; False where it cannot."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            source = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.ioctl(descriptor, _FICLONE, source)
            except OSError as error:
                if error.errno in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY):
                    return False
                raise
            finally:
                os.close(source)
            self._read_checksums(descriptor)
            return True
        finally:
            os.close(descriptor)

    def _read_checksums(self, descriptor: int) -> None:
        count = max(0, os.fstat(descriptor).st_size - HEADER_BYTES) // BLOCK_BYTES
        found = (
            os.pread(descriptor, 8, HEADER_BYTES + number * BLOCK_BYTES) for number in range(count)
        )
        self._checksums = array.array("Q", (int.from_bytes(each, "little") for each in found))

    def write_headers(self, headers: bytes) -> None:
        """Make the copy whole: the headers come last."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, headers, 0)
        finally:
            os.close(descriptor)
        self.headers, self.is_pristine = headers, True

    def note_written(self) -> None:
        """Take in that a child has written to the copy, and ended as it should.

        What it wrote is found by reading the checksums again; a child that died may have left blocks
        that are half written: see ``forget``.
        """
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._read_checksums(descriptor)
        finally:
            os.close(descriptor)
        self._scanned = None
        self.is_pristine = False
        self.cut_wal()

    # --- the WAL ------------------------------------------------------------------------------

    def continue_wal(self, wal: HeldWal) -> bool:
        """Copy the complete transactions that are not in the copy.

        False: the file has become shorter than what was read of it; DuckDB cut a transaction off.
        """
        while self.wal_offset < wal.cursor.offset:
            end = min(wal.cursor.offset, self.wal_offset + _WAL_BYTES)
            piece = wal.read(self.wal_offset, end)
            if not piece:
                return False
            self._append(piece)
        while piece := wal.advance():
            self._append(piece)
        return True

    def _append(self, piece: bytes) -> None:
        descriptor = os.open(self.wal_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            view, offset = memoryview(piece), self.wal_offset
            while view:
                written = os.pwrite(descriptor, view, offset)
                view, offset = view[written:], offset + written
            os.ftruncate(descriptor, offset)
        finally:
            os.close(descriptor)
        self.wal_offset = offset

    def cut_wal(self) -> None:
        """Begin the copy of the WAL again."""
        for path in self.directory.glob(self.wal_path.name + "*"):
            path.unlink()
        self.wal_offset = 0
