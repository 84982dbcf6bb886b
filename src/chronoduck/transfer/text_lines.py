"""A file's lines with their numbers, for the engine to read: of any bytes, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import orjson
import pyarrow as pa

from chronoduck.errors import LoadError

__all__ = ["LINES", "drop_trailer", "numbered_lines"]

LINES = pa.schema([("n", pa.int64()), ("text", pa.string()), ("is_utf8", pa.bool_())])
_TRAILER = b'{"_chronoduck":'
_TRAILER_BYTES = 10_000
_BLOCK_BYTES = 1_000_000
_MAX_LINE_BYTES = 16_000_000
"""As long as one JSON object may be for the engine's own reader."""


def numbered_lines(path: Path, name: str) -> pa.RecordBatchReader:
    """Return the lines that are not empty, as ``LINES``; numbers count from 1."""
    return pa.RecordBatchReader.from_batches(LINES, _batches(path, name))


def drop_trailer(path: Path, name: str) -> None:
    """Cut off the last line if it is the one with which this service ends its own results.

    Raises:
        LoadError: it says that the result is not complete.
    """
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        start = file.seek(max(0, size - _TRAILER_BYTES))
        body, found, last = b"\n".__add__(file.read().rstrip()).rpartition(b"\n")
        if not found or not last.startswith(_TRAILER):
            return
        try:
            trailer = orjson.loads(last)["_chronoduck"]
        except (ValueError, KeyError, TypeError):
            return
        if not isinstance(trailer, dict) or trailer.get("complete") is not True:
            raise LoadError(
                f"{name} is a result that broke off, as its last line says",
                hint="Nothing was loaded. Run the query again.",
            )
        file.truncate(start + len(body))


def _batches(path: Path, name: str) -> Iterator[pa.RecordBatch]:
    number = 1
    with path.open("rb") as file:
        for block in _whole_lines(file, name):
            lines = block.removesuffix(b"\n").split(b"\n")
            yield _batch(lines, number)
            number += len(lines)


def _whole_lines(file: IO[bytes], name: str) -> Iterator[bytes]:
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        data = rest + block
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        if len(rest) > _MAX_LINE_BYTES:
            raise LoadError(f"{name} has a line of more than {_MAX_LINE_BYTES:,} bytes")
        if end:
            yield data[:end]
    if rest:
        yield rest


def _batch(lines: list[bytes], first: int) -> pa.RecordBatch:
    numbers = range(first, first + len(lines))
    kept = [(n, line) for n, line in zip(numbers, lines, strict=True) if line.strip()]
    texts, valid = [], []
    for _, line in kept:
        text = line.decode("utf-8", "replace")
        texts.append(text)
        valid.append("\ufffd" not in text or _is_utf8(line))
    return pa.record_batch(
        [pa.array([n for n, _ in kept], pa.int64()), pa.array(texts, pa.string()), pa.array(valid)],
        schema=LINES,
    )


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
