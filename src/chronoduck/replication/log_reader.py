"""The write-ahead log as another process writes it, held open beyond its deletion."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from chronoduck.engine.offline import replayed_wal, side_files

__all__ = ["LogReader", "ReplayedLog"]

_CHUNK = 8_000_000


class LogReader:
    """Holds one log file. DuckDB deletes the file at a checkpoint; what it held can still be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether a file is held."""
        return self._descriptor is not None

    def open(self) -> bool:
        """Hold the file that has the name now, if there is one and none is held."""
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
        return True

    def is_current(self) -> bool:
        """Whether the held file is the one that has the name now (none is, when there is none)."""
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return self._descriptor is None
        return self._descriptor is not None and os.path.samestat(named, os.fstat(self._descriptor))

    @property
    def size(self) -> int:
        """Bytes in the held file."""
        return 0 if self._descriptor is None else os.fstat(self._descriptor).st_size

    def read(self, offset: int, end: int) -> bytes:
        """Return what lies between; shorter where the file is."""
        if self._descriptor is None or end <= offset:
            return b""
        return os.pread(self._descriptor, end - offset, offset)

    def sha256(self, end: int) -> hashlib._Hash:
        """Return the hash of the file up to ``end``, ready to go on."""
        digest = hashlib.sha256()
        for start in range(0, end, _CHUNK):
            digest.update(self.read(start, min(end, start + _CHUNK)))
        return digest

    def matches(self, end: int, sha256: str) -> hashlib._Hash | None:
        """Open the log; return the hash up to ``end`` if that is ``sha256``, else None. Close it."""
        try:
            digest = self.sha256(end) if self.open() and self.size >= end else None
        finally:
            self.close()
        return digest if digest is not None and digest.hexdigest() == sha256 else None

    def close(self) -> None:
        """Let go of the file; idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class ReplayedLog(LogReader):
    """The one WAL that DuckDB will replay, where a death within a checkpoint has left two.

    Only for files that no process has open. It is held in memory.
    """

    def __init__(self, database: Path) -> None:
        super().__init__(side_files(database)[0])
        self._database = database
        self._joined: bytes | None = None

    @property
    def is_open(self) -> bool:
        return self._joined is not None

    def open(self) -> bool:
        if self._joined is None:
            self._joined = replayed_wal(self._database)
        return True

    def is_current(self) -> bool:
        return self._joined is not None

    @property
    def size(self) -> int:
        return len(self._joined or b"")

    def read(self, offset: int, end: int) -> bytes:
        return (self._joined or b"")[offset:end]

    def close(self) -> None:
        self._joined = None
