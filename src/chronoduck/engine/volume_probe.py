"""The service's own look at the disk: one uncached read of the database, one synced write beside it.

Only what this probe meets is a failure of the disk. What an error *says* may come from a user.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chronoduck.engine.paths import find_descriptor
from chronoduck.sql.engine_errors import FULL_ERRNOS

__all__ = ["ProbeResult", "VolumeProbe"]

_EVERY_SECONDS = 1.0
_BLOCK_BYTES = 4096
_BEYOND_BYTES = 1 << 20
"""So far behind the end of the longest file the write is made: a limit of a file's size shows, too. The
file is sparse, so that this takes no space."""


@dataclass(frozen=True)
class ProbeResult:
    """What one look met: the operating system's error numbers, None where all was well."""

    read_errno: int | None = None
    write_errno: int | None = None

    @property
    def is_full(self) -> bool:
        """Whether there is no space for one block."""
        return self.write_errno in FULL_ERRNOS

    @property
    def is_failed(self) -> bool:
        """Whether the disk does not read, or does not write for another reason than space."""
        return self.read_errno is not None or (self.write_errno is not None and not self.is_full)


class VolumeProbe:
    """Looks at most once a second, whoever asks: others get the same answer. Blocks; use in threads."""

    def __init__(self, database: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._file = database.with_name(database.name + ".probe")
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self.last = ProbeResult()
        self.count = 0

    def look(self) -> ProbeResult:
        """Return what a look of the last second met, or look now."""
        with self._lock:
            if self._clock() - self._looked_at >= _EVERY_SECONDS:
                self.last = ProbeResult(_number_of(self._read), _number_of(self._write))
                self._looked_at = self._clock()
                self.count += 1
            return self.last

    def _read(self) -> None:
        """Read both headers and the last block past the page cache, by DuckDB's own descriptor.

        Another descriptor that is closed would take DuckDB's lock from the file.
        """
        descriptor = find_descriptor(self._database)
        if descriptor is None:
            return  # it is being reopened: that decides
        size = os.fstat(descriptor).st_size
        for offset, count in ((0, 3 * _BLOCK_BYTES), (max(0, size - _BLOCK_BYTES), _BLOCK_BYTES)):
            with contextlib.suppress(OSError):  # a file system without it reads from its cache
                os.posix_fadvise(descriptor, offset, count, os.POSIX_FADV_DONTNEED)
            os.pread(descriptor, count, offset)

    def _write(self) -> None:
        longest = 0
        for path in (self._database, self._database.with_name(self._database.name + ".wal")):
            with contextlib.suppress(FileNotFoundError):
                longest = max(longest, path.stat().st_size)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._file, flags, 0o600)
        try:
            if os.pwrite(descriptor, bytes(_BLOCK_BYTES), longest + _BEYOND_BYTES) < _BLOCK_BYTES:
                raise OSError(errno.ENOSPC, "a write was cut short")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                self._file.unlink()


def _number_of(look: Callable[[], None]) -> int | None:
    try:
        look()
    except OSError as error:
        return error.errno or errno.EIO
    return None
