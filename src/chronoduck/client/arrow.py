"""Arrow streams of the service, read whole or message by message.

pyarrow is imported when it is needed: everything else of the client does without.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from chronoduck.client.problems import ConnectionBrokenError
from chronoduck.errors import InvalidRequestError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BatchReader", "arrow", "read_table"]

_COMPLETE = b"chronoduck.complete"
_CONTINUATION = b"\xff\xff\xff\xff"
_BODY_LENGTH = 3
"""The field of that name in Arrow's ``Message``, counted from 0."""


def arrow() -> Any:
    """Return pyarrow.

    Raises:
        InvalidRequestError: it is not installed.
    """
    try:
        import pyarrow  # noqa: PLC0415 - an optional package
        import pyarrow.ipc  # noqa: PLC0415
    except ImportError as error:
        raise InvalidRequestError(
            "Arrow, pandas and polars need pyarrow", hint="pip install pyarrow"
        ) from error
    return pyarrow


def _broken(why: str) -> ConnectionBrokenError:
    return ConnectionBrokenError(f"the result broke off before its end: {why}")


def read_table(stream: bytes) -> pa.Table:
    """Return the table that a whole stream of the service is, without copying it.

    Raises:
        ConnectionBrokenError: it does not say that it is complete.
    """
    pa = arrow()
    batches, is_complete = [], False
    try:
        reader = pa.ipc.open_stream(stream)
        while True:
            batch, metadata = reader.read_next_batch_with_custom_metadata()
            batches.append(batch)
            is_complete = metadata is not None and metadata.get(_COMPLETE) == b"true"
    except StopIteration:
        pass
    except (pa.ArrowInvalid, OSError) as error:
        raise _broken(str(error)) from error
    if not is_complete:
        raise _broken("its last message is missing")
    return pa.Table.from_batches(batches[:-1], reader.schema)


class BatchReader:
    """Reads a stream that comes in pieces; holds one message."""

    def __init__(self) -> None:
        self._pa = arrow()
        self._pending = bytearray()
        self._schema_message = b""
        self.schema: pa.Schema | None = None
        self._is_complete = False

    def feed(self, piece: bytes) -> list[pa.RecordBatch]:
        """Return the batches whose last byte came with this piece."""
        self._pending += piece
        batches = []
        while (size := self._message_size()) is not None and len(self._pending) >= size:
            message = bytes(memoryview(self._pending)[:size])
            del self._pending[:size]
            batches += self._read(message)
        return batches

    @property
    def has_head(self) -> bool:
        """Whether the schema is known."""
        return self.schema is not None

    def finish(self) -> list[pa.RecordBatch]:
        """Return nothing more, at the end of the stream.

        Raises:
            ConnectionBrokenError: it is not its end.
        """
        if not self._is_complete:
            raise _broken("its last message is missing")
        return []

    def _message_size(self) -> int | None:
        """Return the bytes of the message that begins; None while that cannot be known.

        A message is a marker, the length of its description, that (a FlatBuffer, whose fields are
        found by a table of offsets) and a body of the length that the description tells.
        """
        head = self._pending
        if len(head) < 8:
            return None
        if head[:4] != _CONTINUATION:
            raise _broken("there is no message where one should begin")
        (described,) = struct.unpack_from("<i", head, 4)
        if described == 0:
            return 8  # the end of the stream
        if len(head) < 8 + described:
            return None
        (root,) = struct.unpack_from("<I", head, 8)
        table = 8 + root
        offsets = table - struct.unpack_from("<i", head, table)[0]
        (offsets_size,) = struct.unpack_from("<H", head, offsets)
        body, place = 0, 4 + 2 * _BODY_LENGTH
        if place < offsets_size:  # fields at the end that have no value are left out
            (offset,) = struct.unpack_from("<H", head, offsets + place)
            body = struct.unpack_from("<q", head, table + offset)[0] if offset else 0
        return 8 + int(described) + int(body)

    def _read(self, message: bytes) -> list[pa.RecordBatch]:
        ipc = self._pa.ipc
        if len(message) == 8:
            return []
        if self.schema is None:
            self._schema_message = message
            self.schema = ipc.read_schema(ipc.read_message(message))
            return []
        batch = ipc.read_record_batch(ipc.read_message(message), self.schema)
        if batch.num_rows:
            return [batch]
        reader = ipc.open_stream(self._schema_message + message)
        _, metadata = reader.read_next_batch_with_custom_metadata()
        self._is_complete = metadata is not None and metadata.get(_COMPLETE) == b"true"
        return []
