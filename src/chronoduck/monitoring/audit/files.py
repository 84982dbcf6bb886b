"""The files of the trail: the current one, and the rotated ones that carry their first event's number.

``NAME``, ``NAME.000000000001.zst``, ``NAME.000000081920`` (not compressed yet).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import orjson

from chronoduck.storage.durable_write import replace_file

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = [
    "RotatedFile",
    "compress",
    "last_event",
    "lines_backwards",
    "lines_of",
    "parse",
    "rotated_files",
    "rotated_name",
]

_BLOCK_BYTES = 65_536
_LEVEL = 3
_SUFFIX = ".zst"
_UNFINISHED = ".part"


@dataclass(frozen=True)
class RotatedFile:
    """A file that is not written to any more; it may be compressed (its name changes) at any time."""

    plain_path: Path
    first_seq: int

    @property
    def paths(self) -> tuple[Path, Path]:
        """Where it may be, plain first: while both are there, only that one is surely whole."""
        return (self.plain_path, self.plain_path.with_name(self.plain_path.name + _SUFFIX))

    def open(self) -> IO[bytes]:
        """Open its lines for reading.

        Raises:
            FileNotFoundError: it was deleted, as too old.
        """
        plain, compressed = self.paths
        with suppress(FileNotFoundError):
            return plain.open("rb")
        return cast("IO[bytes]", zstd.open(compressed, "rb"))

    def last_written_at(self) -> float:
        """Return the Unix time of its last event; 0 when it is gone."""
        for path in self.paths:
            with suppress(FileNotFoundError):
                return path.stat().st_mtime
        return 0.0

    def delete(self) -> None:
        """Remove it in every form."""
        for path in self.paths:
            path.unlink(missing_ok=True)


def rotated_name(path: Path, first_seq: int) -> Path:
    """Return what the current file is called once it is full."""
    return path.with_name(f"{path.name}.{first_seq:012d}")


def rotated_files(path: Path) -> list[RotatedFile]:
    """Return the rotated files, oldest first; each once, however far its compression is."""
    pattern = re.compile(re.escape(path.name) + rf"\.(\d{{12}})(?:{re.escape(_SUFFIX)})?")
    found = set()
    with suppress(FileNotFoundError):
        for name in os.listdir(path.parent):  # noqa: PTH208 - names alone
            if match := pattern.fullmatch(name):
                found.add(int(match.group(1)))
    return [RotatedFile(rotated_name(path, seq), seq) for seq in sorted(found)]


def compress(file: RotatedFile) -> None:
    """Replace the plain file by a compressed one of the same mode and time; no moment without it.

    Raises:
        OSError: there is no space for it; the plain one stays.
    """
    plain, compressed = file.paths
    if not plain.exists():
        return
    part = compressed.with_name(compressed.name + _UNFINISHED)
    try:
        with plain.open("rb") as source:
            about = os.fstat(source.fileno())
            target = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, about.st_mode & 0o777)
            with os.fdopen(target, "wb") as raw:
                with zstd.open(raw, "wb", level=_LEVEL) as sink:
                    while block := source.read(16 * _BLOCK_BYTES):
                        sink.write(block)
                raw.flush()
                os.fsync(raw.fileno())
        os.utime(part, ns=(about.st_atime_ns, about.st_mtime_ns))
        replace_file(part, compressed)  # the plain one goes next
    except OSError:
        part.unlink(missing_ok=True)
        raise
    plain.unlink()


def lines_of(file: RotatedFile) -> Iterator[bytes]:
    """Yield the lines of a rotated file without their ends; as far as it can be read, if damaged."""
    with suppress(FileNotFoundError, zstd.ZstdError, EOFError), file.open() as opened:
        for text in opened:
            yield text.rstrip(b"\n")


def parse(text: bytes) -> dict[str, Any] | None:
    """Return the event of a line; None: it is torn."""
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("seq"), int) else None


def lines_backwards(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a plain file from its end, without their ends."""
    position = file.seek(0, os.SEEK_END)
    rest = b""
    while position:
        size = min(_BLOCK_BYTES, position)
        position -= size
        file.seek(position)
        first, *others = (file.read(size) + rest).split(b"\n")
        yield from reversed(others)
        rest = first
    yield rest


def last_event(path: Path) -> tuple[dict[str, Any], bytes] | None:
    """Return the newest readable event of current and rotated files, and its line."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        for text in lines_backwards(file):
            if event := parse(text):
                return event, text
    for rotated in reversed(rotated_files(path)):
        found = None
        for text in lines_of(rotated):
            if event := parse(text):
                found = event, text
        if found:
            return found
    return None
