"""A file's bytes into chunks of whole lines that the engine can read."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from chronoduck.errors import LoadError
from chronoduck.transfer.captures.wacz import ZIP
from chronoduck.transfer.decompression import (
    ZSTD,
    Readable,
    is_skippable,
    open_plain,
    zstd_dictionary,
)
from chronoduck.transfer.detect import FileFormat

__all__ = ["CHUNK_BYTES", "Chunk", "CountingReader", "decompressed", "line_chunks"]

CHUNK_BYTES = 32_000_000
"""One transaction's worth of text: about 200,000 captures."""
_CHUNK_LINES = 250_000
"""Each may be malformed, and is reported then: of short lines a chunk holds fewer bytes."""
_BLOCK_BYTES = 1_000_000
_BOM = b"\xef\xbb\xbf"
_MAX_LINE_BYTES = 64_000_000

_SPACES = frozenset(b" \t\n\r\f\v")


@dataclass(frozen=True)
class Chunk:
    """A spool file of whole lines; ``first_line`` is the number of its first one, from 1."""

    path: Path
    first_line: int
    line_count: int


class CountingReader(io.RawIOBase):
    """Counts the bytes that were read of the (compressed) source."""

    def __init__(self, source: IO[bytes]) -> None:
        self.source = source
        self.bytes_read = 0

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # of bytes only
        """Fill the buffer from the source."""
        data = self.source.read(len(buffer))
        buffer[: len(data)] = data
        self.bytes_read += len(data)
        return len(data)


def decompressed(source: io.BufferedReader, name: str) -> Readable:
    """Return the source's plain bytes; gzip (of several members too) and zstd by their magic.

    Raises:
        LoadError: it is compressed by something else.
        OSError: the dictionary of a ``.warc.zst`` cannot be read.
    """
    magic = source.peek(8)[:8]
    if magic.startswith((b"BZh", b"\xfd7zX", ZIP)):
        raise LoadError(
            f"{name} is compressed by bzip2, xz or zip", hint="Decompress it first, or use zstd."
        )
    if is_skippable(magic):
        taken, dictionary = zstd_dictionary(source)
        return open_plain(source, ZSTD, dictionary, taken)
    return open_plain(source, magic)


def line_chunks(
    plain: Readable,
    head: bytes,
    file_format: FileFormat,
    directory: Path,
    stem: str,
    *,
    before_write: Callable[[int], None] = lambda count: None,
) -> Iterator[Chunk]:
    """Yield spool files of whole lines, each of ``CHUNK_BYTES``, or of fewer if they are many,
    and up to one block more.

    ``head`` is what was read of ``plain`` already. Whole lines before a flaw are yielded, then it is
    raised. ``before_write`` is told the bytes of each file.
    Text that is not UTF-8 is made so by the replacement character: a capture with a broken URL is a
    capture still.
    """
    is_json = file_format is FileFormat.CDX_JSON
    rest = b""
    flaw: OSError | EOFError | None = None
    block = head.removeprefix(_BOM) or plain.read(_BLOCK_BYTES)
    with closing(_Spool(directory, stem, before_write)) as spool:
        while block:
            data = rest + block
            if is_json:
                # What is before the last quote of the rest was looked at.
                data = _rows_on_lines(data, max(rest.rfind(b'"') - 1, 0))
            end = data.rfind(b"\n") + 1
            if len(data) - end > _MAX_LINE_BYTES:
                raise OSError(f"a line is longer than {_MAX_LINE_BYTES:,} bytes")
            spool.add(data[:end])
            rest = data[end:]
            if spool.size >= CHUNK_BYTES or spool.lines >= _CHUNK_LINES:
                yield spool.chunk()
            try:
                block = plain.read(_BLOCK_BYTES)
            except (OSError, EOFError) as error:
                flaw, rest = error, b""  # a line that was cut may look like a whole one
                break
        spool.add(rest)
        if spool.size:
            yield spool.chunk()
    if flaw is not None:
        raise flaw


def _rows_on_lines(data: bytes, start: int) -> bytes:
    """Return the bytes with a line for each row of CDX server JSON from ``start`` on.

    Rows begin and end with a string. A quote inside a string is escaped, so that ``"],["`` with any
    spaces between cannot occur within one.
    """
    parts: list[bytes] = []
    done = start
    closed = data.find(b"]", start)
    while closed >= 0:
        begin = closed
        while begin > start and data[begin - 1] in _SPACES:
            begin -= 1
        end = _behind(data, closed, b"],[")
        if end:
            is_end = data[begin - 1 : begin] == b'"' and data[begin - 2 : begin - 1] not in (
                b"\\",
                b"",
            )
            next_value = _behind_spaces(data, end)
            between = b"],\n["
            if data[next_value : next_value + 1] == b"]":  # the empty row before a resume key
                between = b"],\n[],\n["
                end = _behind(data, next_value, b"],[") or end
                next_value = _behind_spaces(data, end)
            if begin >= start + 2 and is_end and data[next_value : next_value + 1] == b'"':
                parts += (data[done:begin], between)
                done = end
        closed = data.find(b"]", closed + 1)
    return b"".join((data[:start], *parts, data[done:])) if parts else data


def _behind(data: bytes, at: int, signs: bytes) -> int:
    """Return where the signs end that begin at ``at``, with any spaces before each; 0: they do not."""
    for sign in signs:
        at = _behind_spaces(data, at)
        if data[at : at + 1] != bytes([sign]):
            return 0
        at += 1
    return at


def _behind_spaces(data: bytes, at: int) -> int:
    while at < len(data) and data[at] in _SPACES:
        at += 1
    return at


class _Spool:
    """Writes lines to spool files piece by piece: no chunk is in memory as a whole."""

    def __init__(self, directory: Path, stem: str, before_write: Callable[[int], None]) -> None:
        self._directory = directory
        self._stem = stem
        self._before_write = before_write
        self._number = self.lines = 0
        self._first_line = 1
        self._file: IO[bytes] | None = None
        self.size = 0
        """Bytes of the file under way."""

    def add(self, lines: bytes) -> None:
        """Write lines; only the last one of the file may lack its end."""
        if not lines:
            return
        if not lines.isascii():
            try:
                lines.decode()
            except UnicodeDecodeError:
                lines = lines.decode("utf-8", "replace").encode()
        # Trimming in SQL costs as much as all the parsing: line ends are made plain here. And DuckDB's
        # text functions end a value at a NUL byte here and there; no URL holds one. To look for one
        # byte costs a tenth of looking for two.
        if b"\r" in lines:
            lines = lines.replace(b"\r\n", b"\n")
        lines = lines.replace(b"\x00", b"\xef\xbf\xbd")
        self._before_write(len(lines))
        if self._file is None:
            self._file = (self._directory / f"{self._stem}-{self._number}").open("wb")
        self._file.write(lines)
        self.size += len(lines)
        self.lines += lines.count(b"\n") + (not lines.endswith(b"\n"))

    def close(self) -> None:
        """Close the file under way."""
        if self._file is not None:
            self._file.close()

    def chunk(self) -> Chunk:
        """Return what was written, and begin the next file."""
        assert self._file is not None  # noqa: S101 - something was added
        self._file.close()
        chunk = Chunk(Path(self._file.name), self._first_line, self.lines)
        self._first_line += self.lines
        self._number += 1
        self._file, self.lines, self.size = None, 0, 0
        return chunk
