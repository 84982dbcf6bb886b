"""WACZ: a zip file with archives, an index of them, and a list of pages."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO, TypeVar

from chronoduck.errors import LoadError
from chronoduck.transfer.captures.archive import ArchiveLines
from chronoduck.transfer.decompression import Readable, open_plain

__all__ = ["ZIP", "WaczLines", "open_wacz"]

T = TypeVar("T")
ZIP = b"PK\x03\x04"
_INDEX_ENDS = (".cdx", ".cdxj", ".cdx.gz", ".cdxj.gz")
_ARCHIVE_ENDS = (".warc", ".warc.gz", ".arc", ".arc.gz")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compression of members; what a member of another one says of itself may ask for gigabytes of memory."""
_LARGEST_READ = 4_000_000
"""The list of a zip file's members is read at once: of some 40,000, more than any WACZ has."""
_BROKEN = (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error)
"""What the library raises of a damaged, encrypted or unknown member."""


class WaczLines:
    """Reads the parts of a WACZ one after the other, as lines."""

    def __init__(self, parts: Iterator[Readable], *, is_archive: bool) -> None:
        self.is_archive = is_archive
        """Whether the lines are made of archives; else they are those of the index."""
        self._parts = parts
        self._part: Readable | None = None
        self._last = b"\n"

    def read(self, size: int = -1, /) -> bytes:
        """Return some bytes; none at the end."""
        while True:
            if self._part is None:
                self._part = next(self._parts, None)
                if self._part is None:
                    return b""
            data = self._part.read(size)
            if data:
                self._last = data[-1:]
                return data
            self._part = None
            if self._last != b"\n":  # an index without a line end would run into the next one
                self._last = b"\n"
                return b"\n"


def open_wacz(file: IO[bytes], name: str) -> WaczLines | None:
    """Return the captures of a WACZ; None: the zip file is something else.

    The index is read where there is one: it says the same as the archives, and is much smaller.

    Raises:
        LoadError: the file is damaged, or is a WACZ without archives.
    """
    try:
        whole = zipfile.ZipFile(_Bounded(file))
        names = sorted(whole.namelist())
    except (*_BROKEN, OSError, ValueError) as error:
        raise LoadError(
            f"{name} is a zip file that cannot be read: {error}", hint="Is the file complete?"
        ) from error
    indexes = [each for each in names if _is_in(each, "indexes", _INDEX_ENDS)]
    archives = [each for each in names if _is_in(each, "archive", _ARCHIVE_ENDS)]
    if not indexes and not archives:
        if "datapackage.json" not in names:
            return None
        raise LoadError(
            f"{name} has neither archives (archive/*.warc.gz) nor an index (indexes/*.cdx.gz)",
            hint="It is no valid WACZ. Nothing was loaded.",
        )
    if indexes:
        return WaczLines((_index(whole, each) for each in indexes), is_archive=False)
    return WaczLines((_archive(whole, each) for each in archives), is_archive=True)


def _is_in(path: str, folder: str, ends: tuple[str, ...]) -> bool:
    return path.startswith(f"{folder}/") and path.lower().endswith(ends)


def _index(whole: zipfile.ZipFile, path: str) -> Readable:
    member = _Member(whole, path)
    return open_plain(member, member.head)


def _archive(whole: zipfile.ZipFile, path: str) -> Readable:
    return ArchiveLines(_index(whole, path), PurePosixPath(path).name)


class _Bounded(io.RawIOBase):
    """A file of which nobody reads much at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1, /) -> bytes:
        if size > _LARGEST_READ:
            raise OSError(f"the list of its files has {size:,} bytes")
        return self._file.read(size)


class _Member:
    """A file in the zip; flaws of the zip are OSError, as those of other files."""

    def __init__(self, whole: zipfile.ZipFile, path: str) -> None:
        self._path = path
        if whole.getinfo(path).compress_type not in _METHODS:
            raise OSError(f"{path}: it is compressed in a way that no WACZ may use")
        self._file = self._checked(lambda: whole.open(path))
        self.head = self._checked(lambda: self._file.read(4))
        self._rest = self.head

    def read(self, size: int = -1, /) -> bytes:
        if self._rest:
            size = len(self._rest) if size < 0 else size
            data, self._rest = self._rest[:size], self._rest[size:]
            return data
        return self._checked(lambda: self._file.read(size))

    def _checked(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except _BROKEN as error:
            raise OSError(f"{self._path}: {error}") from error
