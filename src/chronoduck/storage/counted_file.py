"""Files whose bytes are claimed from a budget before they are written."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from pathlib import Path
from typing import IO, Protocol

from chronoduck.errors import DiskFullError

__all__ = ["Claim", "CountedFile", "ResultSpool"]

_MEMORY_BYTES = 4_000_000


class Claim(Protocol):
    """What a file has of a budget."""

    def take(self, count: int, /) -> None: ...
    def release(self) -> None: ...


class CountedFile:
    """Writes to a file what its claim allows; closes it at the end of the block.

    The file is not buffered: what was claimed is on the disk. The claim is not given back here, for
    the file stays.
    """

    def __init__(self, path: Path, claim: Claim) -> None:
        self._file = path.open("xb", buffering=0)
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
        self._file.close()


class ResultSpool:
    """A result that waits for its end: in memory while it is small, then in a nameless file.

    A small one needs no disk: it is answered on a full one, too.
    """

    def __init__(self, directory: Path, claim: Claim) -> None:
        self._directory = directory
        self._claim = claim
        self._file: IO[bytes] = io.BytesIO()
        self._is_in_memory = True
        self.length = 0

    def write(self, data: bytes) -> int:
        """Add to the result.

        Raises:
            DiskFullError: the disk has no space for it.
            DuckDBException: the budget has none.
        """
        self.length += len(data)
        if not self._is_in_memory:
            self._claim.take(len(data))
            return _write(self._file, data)
        self._file.write(data)
        if self.length > _MEMORY_BYTES:
            self._claim.take(self.length)
            held, self._file = self._file, _nameless(self._directory)
            self._is_in_memory = False
            _write(self._file, held.getvalue())  # type: ignore[attr-defined] # it was in memory
        return len(data)

    def rewind(self) -> None:
        """Go to the beginning, to be read."""
        self._file.seek(0)

    def read(self, count: int) -> bytes:
        """Return the next bytes; empty at the end."""
        return self._file.read(count)

    def close(self) -> None:
        """Remove it, and give its space back. Idempotent."""
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
        f"the result cannot be written: {error.strerror}",
        hint="Free space on its volume, or ask for less.",
    )
