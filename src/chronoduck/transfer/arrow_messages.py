"""The sizes that compressed Arrow IPC messages announce: looked at before anybody believes them.

A reader makes room for a compressed buffer's announced size at once. See ``Message.fbs`` and
``Schema.fbs`` of the Arrow format for the tables and the numbers of their fields.
"""

from __future__ import annotations

import struct

import pyarrow as pa

__all__ = ["MAX_BATCH_BYTES", "check_messages"]

MAX_BATCH_BYTES = 256_000_000
"""Of one compressed batch when it is decompressed."""
_DICTIONARY, _RECORDS = 2, 3


def check_messages(source: pa.NativeFile) -> None:
    """Read the messages of a stream to their end, but for their bodies.

    Raises:
        ValueError: a compressed batch is too large.
        struct.error: a message has not the form it should have.
    """
    reader = pa.ipc.MessageReader.open_stream(source)
    for message in reader:
        size = _announced_bytes(message.metadata, message.body)
        if size > MAX_BATCH_BYTES:
            raise ValueError(
                f"a compressed batch has {size:,} bytes when it is decompressed, of at most "
                f"{MAX_BATCH_BYTES:,}: send smaller batches"
            )


def _announced_bytes(metadata: pa.Buffer, body: pa.Buffer | None) -> int:
    """Return what the compressed buffers of a message take together, 0 when none is compressed."""
    view = memoryview(metadata)
    message = _at(view, 0)
    kind = _field(view, message, 1)
    header = _field(view, message, 2)
    if not kind or not header or view[kind] not in (_DICTIONARY, _RECORDS):
        return 0
    batch = _at(view, header)
    if view[kind] == _DICTIONARY:
        batch = _at(view, _field(view, batch, 1))
    buffers = _field(view, batch, 2)
    if body is None or not buffers or not _field(view, batch, 3):
        return 0
    data, vector = memoryview(body), _at(view, buffers)
    (count,) = struct.unpack_from("<I", view, vector)
    total = 0
    for index in range(count):
        offset, length = struct.unpack_from("<qq", view, vector + 4 + 16 * index)
        if length >= 8:
            total += max(length, *struct.unpack_from("<q", data, offset))
    return total


def _at(view: memoryview, position: int) -> int:
    """Return where the offset at a position leads to."""
    (offset,) = struct.unpack_from("<I", view, position)
    return position + int(offset)


def _field(view: memoryview, table: int, number: int) -> int:
    """Return the position of a table's field, 0 when it is not there."""
    (back,) = struct.unpack_from("<i", view, table)
    (size,) = struct.unpack_from("<H", view, table - back)
    if 4 + 2 * number >= size:
        return 0
    (offset,) = struct.unpack_from("<H", view, table - back + 4 + 2 * number)
    return table + int(offset) if offset else 0
