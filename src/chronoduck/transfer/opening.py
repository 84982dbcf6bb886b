"""A source as plain bytes, with what it is."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from chronoduck.errors import LoadError
from chronoduck.transfer.captures.archive import ArchiveLines, is_archive_head
from chronoduck.transfer.captures.wacz import ZIP, open_wacz
from chronoduck.transfer.chunks import CountingReader, decompressed
from chronoduck.transfer.decompression import Readable
from chronoduck.transfer.detect import Detected, FileFormat, detect
from chronoduck.transfer.sheet_source import is_sheet
from chronoduck.transfer.spooling import unreadable

__all__ = ["Opened", "open_file"]

_HEAD_BYTES = 4_000_000
_LOOK_BYTES = 65_536


@dataclass(frozen=True)
class Opened:
    """Plain bytes: ``head`` was read of ``plain`` already."""

    plain: Readable
    head: bytes
    detected: Detected
    source: IO[bytes] | None
    """What the bytes come from, if they are in it as they are."""


def open_file(
    source: CountingReader, name: str, file_format: FileFormat, directory: Path
) -> Opened:
    """Decompress a file and look at its beginning; what is whole before a flaw can be read.

    ``directory`` takes a copy of a zip file that comes through a pipe.

    Raises:
        LoadError: it is none of the formats, or cannot be read at all.
    """
    try:
        buffered: io.BufferedReader = io.BufferedReader(source, 1_000_000)
        if is_sheet(buffered.peek(_LOOK_BYTES), name):
            return Opened(buffered, b"", Detected(FileFormat.XLSX), source.source)
        if buffered.peek(4)[:4] == ZIP:
            lines = open_wacz(_seekable(source, buffered, directory), name)
            if lines is not None:
                if lines.is_archive:
                    return _archive(lines, name, file_format)
                head = _head(lines, b"")
                return Opened(lines, head, detect(head, name, file_format), None)
        plain = decompressed(buffered, name)
        head = plain.read(_LOOK_BYTES)
        if is_archive_head(head):
            return _archive(ArchiveLines(plain, name, head), name, file_format)
        head = _head(plain, head)
    except (OSError, EOFError) as error:
        hint = "Is the file complete?"
        raise unreadable(error, f"{name} cannot be read: {error}", hint) from error
    is_as_it_is = plain is buffered
    return Opened(
        plain, head, detect(head, name, file_format), source.source if is_as_it_is else None
    )


def _archive(lines: Readable, name: str, file_format: FileFormat) -> Opened:
    if file_format not in (FileFormat.AUTO, FileFormat.CDXJ):
        raise LoadError(
            f"{name} is a web archive, not {file_format.value}", hint="Leave `format` out."
        )
    return Opened(lines, b"", Detected(FileFormat.CDXJ, is_archive=True), None)


def _head(plain: Readable, head: bytes) -> bytes:
    """Return the beginning; a flaw behind some bytes is raised again when one reads on."""
    parts, count = [head], _HEAD_BYTES - len(head)
    while count > 0:
        try:
            part = plain.read(count)
        except (OSError, EOFError):
            if not any(parts):
                raise
            break
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _seekable(source: CountingReader, buffered: io.BufferedReader, directory: Path) -> IO[bytes]:
    if source.source.seekable():
        source.source.seek(0)
        return source.source
    with (directory / "file.zip").open("wb") as copy:
        shutil.copyfileobj(buffered, copy)
    return (directory / "file.zip").open("rb")
