"""A copy of the blocks that a checkpoint overwrites where they are: ``NAME.db.metadata``.

DuckDB writes the data of a checkpoint into free blocks, but its metadata into the free parts of blocks
that the last checkpoint uses, too. Such a block of 256 KiB has one checksum. A power cut in the middle
of that write leaves a block that is half old and half new, and DuckDB refuses the database: the last
checkpoint's header points into it. So the service copies these blocks before each checkpoint, and a
start puts a block back that was torn. The WAL, which is whole, has everything since.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from chronoduck.engine.disk_format import BLOCK_BYTES, HEADER_BYTES
from chronoduck.engine.disk_format.database_file import is_block_intact
from chronoduck.engine.offline.files import sync_directory

__all__ = ["MetadataCopy"]

_MAGIC = b"chronoduck metadata 1\n"
_HASH_BYTES = 32
_BLOCK = struct.Struct("<Q")


class MetadataCopy:
    """The copy of one database; call it in threads."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self.path = database.with_name(f"{database.name}.metadata")
        self._headers = b""
        """Of the checkpoint for which it was made last."""

    def save(self, descriptor: int, blocks: Iterable[int]) -> None:
        """Copy the blocks through a descriptor of the open database, durably.

        Between two checkpoints none of them changes, so that one copy serves all attempts.

        Raises:
            OSError: The copy could not be written; an older one is still there.
        """
        headers = os.pread(descriptor, HEADER_BYTES, 0)
        if headers == self._headers:
            return
        parts = [_MAGIC, hashlib.sha256(headers).digest()]
        for number in blocks:
            block = os.pread(descriptor, BLOCK_BYTES, _offset(number))
            if is_block_intact(block):  # else it was never written
                parts += [_BLOCK.pack(number), block]
        self._write(parts)
        self._headers = headers

    def _write(self, parts: list[bytes]) -> None:
        whole = hashlib.sha256()
        part = self.path.with_name(f"{self.path.name}.part")
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "wb") as file:  # noqa: PTH123
                for each in parts:
                    whole.update(each)
                    file.write(each)
                file.write(whole.digest())
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            part.unlink(missing_ok=True)  # the space may be the volume's last
            raise
        part.replace(self.path)
        sync_directory(self.path.parent)

    def put_back(self) -> int:
        """Put back the blocks that a power cut tore; return how many. The caller owns the database.

        A block is put back only while the headers are those for which it was copied: it then has the
        bytes that it had at the last checkpoint, and nothing of the database is newer.

        Raises:
            OSError: The files cannot be read or written.
        """
        if not (self.path.exists() and self._database.exists()):
            return 0
        content = self.path.read_bytes()
        data, stored = content[:-_HASH_BYTES], content[-_HASH_BYTES:]
        if not data.startswith(_MAGIC) or hashlib.sha256(data).digest() != stored:
            return 0
        torn = self._torn(data)
        if torn:
            with self._database.open("r+b") as file:
                for offset, block in torn.items():
                    file.seek(offset)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
        return len(torn)

    def _torn(self, data: bytes) -> dict[int, bytes]:
        """Return where the database has a damaged block, and what belongs there."""
        with self._database.open("rb", buffering=0) as file:
            headers = os.pread(file.fileno(), HEADER_BYTES, 0)
            start = len(_MAGIC) + _HASH_BYTES
            if hashlib.sha256(headers).digest() != data[len(_MAGIC) : start]:
                return {}
            return {
                _offset(number): block
                for number, block in _blocks(data, start)
                if not is_block_intact(os.pread(file.fileno(), BLOCK_BYTES, _offset(number)))
            }


def _blocks(data: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    while start < len(data):
        (number,) = _BLOCK.unpack_from(data, start)
        start += _BLOCK.size
        yield number, data[start : start + BLOCK_BYTES]
        start += BLOCK_BYTES


def _offset(number: int) -> int:
    return HEADER_BYTES + number * BLOCK_BYTES
