"""The WAL of one checkpoint, held open beyond its deletion and read once, transaction by transaction."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from chronoduck.engine.disk_format import WalCursor, read_wal, version_end

__all__ = ["HeldWal"]

_ENTRY = struct.Struct("<QQ")
_READ_BYTES = 32_000_000
_SEAM_BYTES = 64
_ROW_CHANGES = frozenset({10, 26, 27, 28, 29, 98, 99, 100})
"""Entries that name no table: a sequence's value, rows, version, checkpoint, end of a transaction."""
_MAX_NAMES_BYTES = 1_000_000


class HeldWal:
    """One WAL file. DuckDB deletes it at a checkpoint; what it held can still be read."""

    def __init__(self, path: Path) -> None:
        """Hold the file that has the name now.

        Raises:
            FileNotFoundError: there is none.
        """
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._seam = b""
        self.cursor = WalCursor()
        self.needs_blocks = False
        """Whether a transaction up to the cursor put its rows into the database file itself."""
        self.names: set[bytes] = set()
        """Contents of entries that name what the transactions touch."""
        self.names_are_complete = True
        self._names_bytes = 0

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def is_current(self) -> bool:
        """Whether the file still has its name."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._descriptor).st_size

    def read(self, start: int, end: int) -> bytes:
        """Return what lies between; shorter where the file is."""
        return os.pread(self._descriptor, end - start, start)

    def was_taken_back(self) -> bool:
        """Whether what was read is not what the file holds: a commit failed and was cut off again."""
        end = self.cursor.offset
        return self.size < end or self.read(end - len(self._seam), end) != self._seam

    def advance(self) -> bytes:
        """Return the next complete transactions, empty when there are none."""
        start, size, length = self.cursor.offset, self.size, _READ_BYTES
        while True:
            data = self.read(start, min(size, start + length))
            cursor = read_wal(data, self.cursor)
            if cursor.offset > start or start + length >= size:
                break
            length *= 2
        piece = data[: cursor.offset - start]
        if piece:
            self._note_names(piece, has_version=start == 0)
            self.needs_blocks = self.needs_blocks or cursor.needs_blocks
            self._seam = (self._seam + piece)[-_SEAM_BYTES:]
        self.cursor = WalCursor(cursor.offset, cursor.commits, checkpoint=cursor.checkpoint)
        return piece

    def checkpoint_root(self) -> int | None:
        """Return the root that the checkpoint entry names, if the WAL ends with one."""
        start = self.cursor.offset
        return read_wal(self.read(start, self.size), self.cursor).checkpoint

    def _note_names(self, piece: bytes, *, has_version: bool) -> None:
        position = version_end(piece) if has_version else 0
        while position < len(piece):
            size, _ = _ENTRY.unpack_from(piece, position)
            content = position + _ENTRY.size
            position = content + size
            if piece[content + 2] in _ROW_CHANGES:
                continue
            entry = piece[content:position]
            if entry not in self.names:
                self._names_bytes += len(entry)
                if self._names_bytes > _MAX_NAMES_BYTES:
                    self.names_are_complete = False
                    return
                self.names.add(entry)
