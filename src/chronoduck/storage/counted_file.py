"""Files whose bytes are claimed from a budget before they are written."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import IO, Protocol

from chronoduck.errors import DiskFullError
from chronoduck.errors.system import reason_of
from chronoduck.resilience.thread_handover import closed_in_thread, opened_in_thread

__all__ = ["Claim", "CountedFile", "ResultSpool", "counted_file"]

_MEMORY_BYTES = 4_000_000


class Claim(Protocol):
    """What a file has of a budget."""

    def take(self, count: int, /) -> None: ...
    def release(self) -> None: ...


class CountedFile:
    """Writes to a new file what its claim allows; closes it at the end of the block. Blocks.

    The file is not buffered: what was claimed is on the disk. The claim is not given back here, for
    the file stays.
    """

    def __init__(self, path: Path, claim: Claim) -> None:
        """Make the file.

        Raises:
            DiskFullError: it cannot be made.
        """
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise _not_written(error) from error
        self._claim = claim

    def write(self, data: bytes) -> int:
        """Write all of the data.

        Raises:
            DiskFullError: the disk has no space for it.
            DuckDBException: the budget has none.
        """
        self._claim.take(len(data))
        return _write(self._file, data)

    def __enter__(self) -> CountedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Idempotent.

        Raises:
            DiskFullError: what was written is not on the disk.
        """
        try:
            self._file.close()
        except OSError as error:
            raise _not_written(error) from error


@contextlib.asynccontextmanager
async def counted_file(path: Path, claim: Claim) -> AsyncIterator[CountedFile]:
    """Make the file and close it in threads. After a cancellation it may be there, but is not open.

    Raises:
        DiskFullError: it cannot be made, or closed.
    """
    file = await opened_in_thread(partial(CountedFile, path, claim), CountedFile.close)
    try:
        yield file
    finally:
        await closed_in_thread(file.close)


class ResultSpool:
    """A result that waits for its end: in memory while it is small, then in a nameless file.

    A small one needs no disk: it is answered on a full one, too.
    """

    def __init__(self, directory: Path, claim: Claim) -> None:
        self._directory = directory
        self._claim = claim
        self._file: IO[bytes] = io.BytesIO()
        self._reading = threading.Lock()
        self.is_in_memory = True
        """Whether no disk has to be waited for."""
        self.length = 0

    def write(self, data: bytes) -> int:
        """Add to the result.

        Raises:
            DiskFullError: the disk has no space for it.
            DuckDBException: the budget has none.
        """
        self.length += len(data)
        if not self.is_in_memory:
            self._claim.take(len(data))
            return _write(self._file, data)
        self._file.write(data)
        if self.length > _MEMORY_BYTES:
            self._claim.take(self.length)
            held, self._file = self._file, _nameless(self._directory)
            self.is_in_memory = False
            _write(self._file, held.getvalue())  # type: ignore[attr-defined] # it was in memory
        return len(data)

    def rewind(self) -> None:
        """Go to the beginning, to be read."""
        self._file.seek(0)

    def read(self, count: int) -> bytes:
        """Return the next bytes; empty at the end, and once it is closed.

        Raises:
            DiskFullError: the volume does not give them back.
        """
        with self._reading:
            if self._file.closed:
                return b""
            try:
                return self._file.read(count)
            except OSError as error:
                raise DiskFullError(
                    f"the result cannot be read again: {reason_of(error)}",
                    hint="Look at the volume of DUCKDB_TEMP_DIRECTORY; then ask again.",
                ) from error

    def close(self) -> None:
        """Remove it, and give its space back. Idempotent. Waits for a read that is under way."""
        with self._reading, contextlib.suppress(OSError):  # nobody will read what is gone
            self._file.close()
        self._claim.release()


def _nameless(directory: Path) -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(dir=directory, buffering=0)
    except OSError as error:
        raise _not_written(error) from error


def _write(file: IO[bytes], data: bytes) -> int:
    view = memoryview(data)
    done = 0
    try:
        while done < len(data):
            done += file.write(view[done:])
    except OSError as error:
        with contextlib.suppress(OSError):
            os.ftruncate(file.fileno(), file.tell())
        raise _not_written(error) from error
    return done


def _not_written(error: OSError) -> DiskFullError:
    return DiskFullError(
        f"the result cannot be written: {reason_of(error)}",
        hint="Free space on its volume, or ask for less.",
    )
