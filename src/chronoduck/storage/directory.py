"""Blobs as files below a directory."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chronoduck.errors.system import reason_of
from chronoduck.storage.blob_store import (
    BlobConflictError,
    BlobInfo,
    BlobNotFoundError,
    StoreError,
    VersionedBlob,
    check_name,
)
from chronoduck.storage.durable_write import fsync_directory, make_directories, write_durably

__all__ = ["DirectoryBlobStore"]

_LOCK_NAME = ".lock"


class DirectoryBlobStore:
    """Each blob is a file of its name. Names that begin with a dot are under way, or locks."""

    def __init__(self, directory: Path) -> None:
        self._root = directory.absolute()
        self.url = str(self._root)

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(
                f"{what} in {self._root} failed: {reason_of(error, shows_text=True)}",
                hint="Check that the directory is mounted, writable for this user and not full.",
            ) from error

    @contextmanager
    def _write_failures(self, what: str) -> Iterator[None]:
        """Translate a directory that cannot be made, too: a parent is not there, or is no directory."""
        try:
            with self._failures(what):
                yield
        except FileNotFoundError as error:
            raise StoreError(
                f"{what} in {self._root} failed: {error.filename} cannot be made or opened",
                hint="Name a directory that this user may make or write to, on a volume that is mounted.",
            ) from error

    def put(self, name: str, data: bytes) -> None:
        """Write the blob whole, or not at all."""
        path = self._root / check_name(name)
        with self._write_failures(f"writing {name}"):
            make_directories(path.parent)
            write_durably(path, [data])

    def get(self, name: str) -> bytes:
        """Return the blob."""
        try:
            with self._failures(f"reading {name}"):
                return (self._root / check_name(name)).read_bytes()
        except FileNotFoundError as error:
            raise BlobNotFoundError(f"{self._root} holds no {name}") from error

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        """Yield the blobs below ``prefix``."""
        top = self._root / prefix
        try:
            with self._failures("listing"):
                self._root.stat()  # a volume that is not mounted is not an empty store
        except FileNotFoundError as error:
            if self._root.parent.is_dir():
                return
            raise StoreError(f"{self._root.parent} is not there") from error
        for directory, folders, files in os.walk(top, onerror=self._refuse):
            folders[:] = [folder for folder in folders if not folder.startswith(".")]
            for file in files:
                if not file.startswith("."):
                    path = Path(directory) / file
                    with contextlib.suppress(FileNotFoundError):  # removed since
                        stat = path.stat()
                        version = f"{stat.st_mtime_ns}-{stat.st_size}"
                        yield BlobInfo(str(path.relative_to(self._root)), stat.st_size, version)

    def _refuse(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise StoreError(f"listing {self._root} failed: {reason_of(error)}") from error

    def delete(self, names: Iterable[str]) -> None:
        """Remove blobs, and the directories that they leave empty."""
        parents = set()
        with self._failures("deleting"):
            for name in names:
                path = self._root / check_name(name)
                path.unlink(missing_ok=True)
                parents.add(path.parent)
            for parent in sorted(parents, key=lambda path: len(path.parts), reverse=True):
                self._prune(parent)

    def _prune(self, directory: Path) -> None:
        with contextlib.suppress(OSError):  # not empty, or removed already
            while directory != self._root:
                directory.rmdir()
                directory = directory.parent
        if directory.is_dir():
            fsync_directory(directory)

    def get_versioned(self, name: str) -> VersionedBlob | None:
        """Return the blob with its version."""
        try:
            data = self.get(name)
        except BlobNotFoundError:
            return None
        return VersionedBlob(data, _version(data))

    def replace(self, name: str, data: bytes, expected: str | None) -> str:
        """Write the blob if it has the expected version; a lock keeps others out meanwhile."""
        with self._write_failures(f"writing {name}"):
            make_directories(self._root)
            lock = os.open(self._root / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                current = self.get_versioned(name)
                if (None if current is None else current.version) != expected:
                    raise BlobConflictError(f"{name} in {self._root} was changed by somebody else")
                self.put(name, data)
            finally:
                os.close(lock)
        return _version(data)


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
