"""The plain bytes of an archive as lines and blocks, and the places of its records in the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chronoduck.transfer.decompression import Decompressed, Readable

__all__ = ["RecordStream"]

_BLOCK = 65_536


class RecordStream:
    """Reads an archive; the parser of records takes it for a file.

    A compressed archive has a member (or frame) for each record, so that readers can go to one.
    """

    def __init__(self, plain: Readable, head: bytes = b"") -> None:
        """``head``: what was read of the plain bytes already."""
        self._plain = plain
        self._starts = plain.starts if isinstance(plain, Decompressed) else None
        self._buffer = head
        self._at = 0
        self._buffer_begin = 0
        """Where the buffer begins in the plain bytes."""
        self.last = b""
        """The last four bytes that were read."""
        self._line_bytes: int | None = None

    def tell(self) -> int:
        """Return the place in the plain bytes."""
        return self._buffer_begin + self._at

    @contextmanager
    def bounded_lines(self, size: int) -> Iterator[None]:
        """In the block, lines of more than ``size`` bytes together are a ``ValueError``.

        The parser keeps every header: some kilobytes of gzip may hold as many as fill the memory.
        """
        self._line_bytes = size
        try:
            yield
        finally:
            self._line_bytes = None

    @property
    def is_compressed(self) -> bool:
        """Whether the file is."""
        return self._starts is not None

    @property
    def is_at_member(self) -> bool:
        """Whether a member begins here."""
        return self._starts is not None and self.tell() in self._starts

    def read(self, size: int = -1) -> bytes:
        """Return some bytes, at most ``size``; none at the end."""
        if not self._fill():
            return b""
        size = _BLOCK if size < 0 else size
        return self._taken(self._buffer[self._at : self._at + size])

    def readline(self, size: int = -1) -> bytes:
        """Return the rest of a line, with its end; at most a block of it."""
        size = _BLOCK if size < 0 else min(size, _BLOCK)
        parts: list[bytes] = []
        while size > 0 and self._fill():
            end = self._buffer.find(b"\n", self._at, self._at + size)
            stop = min(self._at + size, len(self._buffer)) if end < 0 else end + 1
            parts.append(self._taken(self._buffer[self._at : stop]))
            size -= len(parts[-1])
            if end >= 0:
                break
        line = b"".join(parts)
        if self._line_bytes is not None:
            self._line_bytes -= len(line)
            if self._line_bytes < 0:
                self.put_back(line)  # its reader has not counted it
                raise ValueError("the headers are too long")
        return line

    def put_back(self, line: bytes) -> None:
        """Have a line that was just read be read again."""
        self._buffer = line + self._buffer[self._at :]
        self._buffer_begin = self.tell() - len(line)
        self._at = 0

    def _fill(self) -> bool:
        if self._at >= len(self._buffer):
            self._buffer_begin += len(self._buffer)
            self._buffer, self._at = self._plain.read(_BLOCK), 0
        return bool(self._buffer)

    def _taken(self, data: bytes) -> bytes:
        self._at += len(data)
        self.last = (self.last + data)[-4:]
        return data

    def place(self, begin: int, end: int, behind: int) -> tuple[int | None, int]:
        """Return offset and length of a record in the file.

        ``begin`` and ``end`` are places in the plain bytes, ``behind`` is where the next record begins.
        A record that shares its member with others cannot be reached: it has no offset, and its
        length is that of its plain bytes.
        """
        if self._starts is None:
            return begin, end - begin
        behind_record = [at for at in self._starts if end <= at <= behind]
        if begin not in self._starts or not behind_record:
            return None, end - begin
        offset, length = self._starts[begin], self._starts[behind_record[0]] - self._starts[begin]
        for passed in [at for at in self._starts if at < begin]:
            del self._starts[passed]
        return offset, length
