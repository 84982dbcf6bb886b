"""The database file: three headers of 4 KiB, then blocks that begin with their checksum."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from chronoduck.engine.disk_format.checksum import checksum
from chronoduck.errors import DatabaseFormatError

__all__ = [
    "BLOCK_BYTES",
    "HEADER_BYTES",
    "DamagedHeaderError",
    "DatabaseFile",
    "DatabaseHeader",
    "database_id",
    "headers_sha256",
    "is_block_intact",
    "newest_iteration",
    "read_header",
    "read_roots",
    "root_block",
]

HEADER_BYTES = 3 * 4096
BLOCK_BYTES = 262_144
_CHECKSUM_BYTES = 8
_MAGIC = b"DUCK"
_ENCRYPTED_FLAG = 1
_FIELDS = struct.Struct("<QQQQQQQ")
_NOWHERE = (1 << 64) - 1
_BLOCK_MASK = (1 << 56) - 1
_PLACE_SHIFT = 56
"""A pointer to metadata has the place inside the block in its highest byte."""
_METADATA_BYTES = 4088
"""A block of metadata holds 64 pieces of this size, each with a part of one checkpoint's catalog."""
_ID_BYTES = slice(124, 140)


class DamagedHeaderError(DatabaseFormatError):
    """The main header is damaged, or one of the two roots: DuckDB would use the other one."""


@dataclass(frozen=True)
class DatabaseHeader:
    """The fields of the newer root header; each checkpoint writes the other one."""

    iteration: int
    """Counts checkpoints."""
    meta_block: int
    free_list: int
    block_count: int
    block_bytes: int
    vector_size: int = 2048
    serialization: int = 0
    """Grows with the storage version: 1 is v1.0.0, 7 is v1.5.0, 69 is v2.0.0."""


def read_header(data: bytes) -> DatabaseHeader:
    """Return the root that DuckDB would use.

    Raises:
        DatabaseFormatError: damaged, encrypted, or blocks of another size.
    """
    if len(data) < HEADER_BYTES or data[8:12] != _MAGIC:
        raise DatabaseFormatError("the file does not begin like a DuckDB database")
    main, *roots = (data[start : start + 4096] for start in range(0, HEADER_BYTES, 4096))
    if not _is_header_intact(main):
        raise DamagedHeaderError("the main header of the database file is damaged")
    if int.from_bytes(main[20:28], "little") & _ENCRYPTED_FLAG:
        raise DatabaseFormatError("encrypted database files are not supported")
    intact = [
        DatabaseHeader(*_FIELDS.unpack_from(root, 8)) for root in roots if _is_header_intact(root)
    ]
    # DuckDB opens a file with one bad root by the other one, and loses a checkpoint: refuse that.
    if len(intact) < 2:
        raise DamagedHeaderError("a root header of the database file is damaged")
    newest = max(intact, key=lambda header: header.iteration)
    if newest.block_bytes != BLOCK_BYTES:
        raise DatabaseFormatError(
            f"the database has blocks of {newest.block_bytes} bytes; only {BLOCK_BYTES} are supported"
        )
    return newest


def format_number(headers: bytes) -> int | None:
    """Return the number of the file's format, None when the main header is not intact.

    64 is v1.0.0, 68 is v1.5.0, 999 is v2.0.0. It says which engines can read the file at all.
    """
    main = headers[:4096]
    if len(main) < 4096 or main[8:12] != _MAGIC or not _is_header_intact(main):
        return None
    return int.from_bytes(main[12:20], "little")


def newest_iteration(headers: bytes) -> int | None:
    """Return how many checkpoints the intact root headers have seen, None when neither is intact.

    The main header before them may be damaged: it says nothing about checkpoints.
    """
    roots = (headers[start : start + 4096] for start in (4096, 8192))
    intact = [root for root in roots if len(root) == 4096 and _is_header_intact(root)]
    return max((int.from_bytes(root[8:16], "little") for root in intact), default=None)


def database_id(headers: bytes) -> str:
    """Return DuckDB's identifier of the database as hex; empty before storage version v1.4.0.

    It is drawn when the file is created and never changes; a compacted copy has another one.
    """
    identifier = headers[_ID_BYTES]
    return identifier.hex() if any(identifier) else ""


def root_block(root: bytes) -> int | None:
    """Return the number of the block in which a root header's catalog begins; None: there is none."""
    pointer = int.from_bytes(root[16:24], "little")
    return None if pointer == _NOWHERE else pointer & _BLOCK_MASK


def read_roots(headers: bytes) -> tuple[bytes, bytes]:
    """Return the root header in use and the one of the checkpoint before it."""
    first, second = headers[4096:8192], headers[8192:HEADER_BYTES]
    iterations = [int.from_bytes(root[8:16], "little") for root in (first, second)]
    return (first, second) if iterations[0] >= iterations[1] else (second, first)


def _is_header_intact(header: bytes) -> bool:
    return int.from_bytes(header[:_CHECKSUM_BYTES], "little") == checksum(header[_CHECKSUM_BYTES:])


def is_block_intact(block: bytes | memoryview) -> bool:
    """Whether the block's content matches its checksum."""
    stored = int.from_bytes(block[:_CHECKSUM_BYTES], "little")
    return len(block) == BLOCK_BYTES and stored == checksum(block[_CHECKSUM_BYTES:])


def headers_sha256(path: Path) -> str:
    """Return the hash of a file's headers: another one after every checkpoint."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(HEADER_BYTES)).hexdigest()


class DatabaseFile:
    """Reads a database file that another process may be writing. Never use it in that process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def stat(self) -> os.stat_result:
        """Return size and times; of the open file, whatever has its name now."""
        return os.fstat(self._descriptor)

    def size(self) -> int:
        """Return the bytes of the open file."""
        return self.stat().st_size

    def is_current(self) -> bool:
        """Whether the path still names the open file."""
        try:
            named = self.path.stat()
        except OSError:
            return False
        return os.path.samestat(named, self.stat())

    @property
    def block_count(self) -> int:
        """Whole blocks in the file; it grows while transactions run."""
        return max(0, self.stat().st_size - HEADER_BYTES) // BLOCK_BYTES

    def read(self, offset: int, count: int) -> bytes:
        """Return so many bytes, fewer at the end of the file."""
        return os.pread(self._descriptor, count, offset)

    def headers(self) -> bytes:
        """Return the 12 KiB of headers."""
        return os.pread(self._descriptor, HEADER_BYTES, 0)

    def checksums(self, count: int) -> Iterator[int]:
        """Yield the stored checksum of each of the first ``count`` blocks; about 1 µs each."""
        descriptor, pread = self._descriptor, os.pread
        for offset in range(HEADER_BYTES, HEADER_BYTES + count * BLOCK_BYTES, BLOCK_BYTES):
            yield int.from_bytes(pread(descriptor, _CHECKSUM_BYTES, offset), "little")

    def checksum(self, number: int) -> int:
        """Return the stored checksum of a block, 0 behind the file's end."""
        offset = HEADER_BYTES + number * BLOCK_BYTES
        return int.from_bytes(os.pread(self._descriptor, _CHECKSUM_BYTES, offset), "little")

    def catalog_start(self, root: bytes) -> bytes:
        """Return the piece of metadata with which a root header's catalog begins; empty: there is none.

        The next checkpoint may write other pieces of the same block, never this one: a crash in the
        middle of it goes back to this root.
        """
        number = root_block(root)
        if number is None:
            return b""
        place = int.from_bytes(root[16:24], "little") >> _PLACE_SHIFT
        block = HEADER_BYTES + number * BLOCK_BYTES + _CHECKSUM_BYTES
        return os.pread(self._descriptor, _METADATA_BYTES, block + place * _METADATA_BYTES)

    def block(self, number: int) -> bytes:
        """Return a block as it is now; it may be in the middle of being written."""
        return os.pread(self._descriptor, BLOCK_BYTES, HEADER_BYTES + number * BLOCK_BYTES)
