"""Whole files under names of their own, in a directory or on S3: what is handed out to people."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from chronoduck.errors.system import reason_of
from chronoduck.settings import Settings
from chronoduck.storage.blob_store import BlobNotFoundError, StoreError
from chronoduck.storage.durable_write import make_directories, replace_finished, write_durably
from chronoduck.storage.opening import s3_store
from chronoduck.storage.s3 import S3BlobStore

__all__ = ["FileStore", "open_files"]

_CHUNK_BYTES = 1 << 20


class FileStore(Protocol):
    """Names have ``/`` between parts. Methods block, and raise StoreError when the store fails."""

    @property
    def url(self) -> str:
        """Where it is, for people; without secrets."""
        ...

    def put(self, name: str, source: Path) -> None:
        """Copy the file there; it is seen whole or not at all."""
        ...

    def take(self, name: str, source: Path) -> None:
        """Move the file there; it is seen whole or not at all, and never takes space twice here."""
        ...

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the file. Raises BlobNotFoundError before the first piece."""
        ...

    def delete(self, folder: str, first: str | None = None) -> None:
        """Remove everything below a folder, ``first`` one file; what is not there is fine."""
        ...


def open_files(url: str, settings: Settings) -> FileStore:
    """Return the store at a directory or ``s3://bucket/prefix``; sends and writes nothing.

    Raises:
        SettingsError: the address is of another kind, or an extra is missing.
    """
    if urlsplit(url).scheme:
        return _S3Files(s3_store(url, settings))
    return _DirectoryFiles(Path(url).expanduser().absolute())


class _DirectoryFiles:
    def __init__(self, directory: Path) -> None:
        self._root = directory
        self.url = str(directory)

    def _path(self, name: str) -> Path:
        path = self._root / name
        if ".." in Path(name).parts or not path.is_relative_to(self._root):
            raise BlobNotFoundError(f"there is no {name}", operator_detail=f"{path} is no file")
        return path

    def put(self, name: str, source: Path) -> None:
        path = self._path(name)
        try:
            make_directories(path.parent)
            write_durably(path, _chunks(source))
        except OSError as error:
            raise _failed(f"{name} cannot be written to", self.url, error) from error

    def take(self, name: str, source: Path) -> None:
        path = self._path(name)
        try:
            make_directories(path.parent)
            source.chmod(0o640)
            replace_finished(source, path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise _failed(f"{name} cannot be written to", self.url, error) from error
            self.put(name, source)
            source.unlink()

    def read(self, name: str) -> Iterator[bytes]:
        path = self._path(name)
        if not path.is_file():
            raise BlobNotFoundError(f"there is no {name}", operator_detail=f"{path} is no file")
        return _chunks(path)

    def delete(self, folder: str, first: str | None = None) -> None:
        with contextlib.suppress(FileNotFoundError):
            try:
                if first is not None:
                    self._path(f"{folder}/{first}").unlink(missing_ok=True)
                shutil.rmtree(self._path(folder))
            except FileNotFoundError:
                raise
            except OSError as error:
                raise _failed(f"{folder} cannot be removed from", self.url, error) from error


class _S3Files:
    def __init__(self, store: S3BlobStore) -> None:
        self._store = store
        self.url = store.url

    def put(self, name: str, source: Path) -> None:
        self._store.put_file(name, source)

    def take(self, name: str, source: Path) -> None:
        self._store.put_file(name, source)
        source.unlink(missing_ok=True)

    def read(self, name: str) -> Iterator[bytes]:
        return self._store.stream(name)

    def delete(self, folder: str, first: str | None = None) -> None:
        if first is not None:
            self._store.delete_files([f"{folder}/{first}"])
        names = [blob.name for blob in self._store.list(f"{folder}/")]
        self._store.delete_files(names)


def _failed(what: str, directory: str, error: OSError) -> StoreError:
    """Return the error: users read it, and only operators where the directory is."""
    reason = reason_of(error)
    return StoreError(
        f"{what} the directory of exports: {reason}",
        hint="Check that the directory is mounted, writable for this user and not full.",
        operator_detail=f"{what} {directory}: {reason}",
    )


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
