"""Arrow IPC bytes that somebody sent: nothing in them is believed before it was checked."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from chronoduck.errors import LoadError
from chronoduck.transfer.arrow_messages import check_messages
from chronoduck.transfer.arrow_types import check_values, taken_schema

__all__ = ["FILE_MAGIC", "open_arrow"]

FILE_MAGIC = b"ARROW1"
"""What the IPC file format begins with; the stream format has no magic of its own."""


def open_arrow(path: Path, name: str) -> pa.RecordBatchReader:
    """Return the batches of an IPC stream or file, each one checked when it is read.

    The file is mapped, not read: of a batch that is not compressed nothing is copied.

    Raises:
        LoadError: it is neither.
    """
    source = pa.memory_map(str(path))
    try:
        # A file is a stream between two frames; the one at its end could lead anywhere.
        start = 8 if source.read_at(len(FILE_MAGIC), 0) == FILE_MAGIC else 0
        source.seek(start)
        check_messages(source)
        source.seek(start)
        stream = pa.ipc.open_stream(source)
        return _checked(stream.schema, iter(stream), name)
    except (pa.ArrowException, OSError, ValueError, struct.error) as error:
        raise LoadError(
            f"{name} cannot be read as Arrow IPC: {_first_line(error)}",
            hint="Send an IPC stream or file; nothing was loaded.",
        ) from error


def _checked(
    schema: pa.Schema, batches: Iterator[pa.RecordBatch], name: str
) -> pa.RecordBatchReader:
    def checked() -> Iterator[pa.RecordBatch]:
        number = 0
        while True:
            try:
                batch = next(batches, None)
                if batch is None:
                    return
                # Offsets that point outside of their buffer would be followed by the engine.
                for column in batch.columns:
                    _seen_plainly(column).validate(full=True)
                    check_values(column)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise LoadError(
                    f"record batch {number} of {name} is broken: {_first_line(error)}"
                ) from error
            number += 1
            yield batch

    return pa.RecordBatchReader.from_batches(taken_schema(schema, name), checked())


def _seen_plainly(column: pa.Array) -> pa.Array:
    """Return the column with its decimals as bytes.

    A HUGEINT of 39 digits is sent as a decimal of 38, and comes back as it was: nothing points
    anywhere in it.
    """
    plain = _plain(column.type)
    return column if plain == column.type else column.view(plain)


def _plain(type_: pa.DataType) -> pa.DataType:
    def inner(field: pa.Field) -> pa.Field:
        return field.with_type(_plain(field.type))

    if pa.types.is_decimal128(type_):
        return pa.binary(16)
    if pa.types.is_list(type_):
        return pa.list_(inner(type_.value_field))
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(inner(type_.value_field), type_.list_size)
    if pa.types.is_map(type_):
        return pa.map_(inner(type_.key_field), inner(type_.item_field))
    fields = [inner(type_.field(index)) for index in range(type_.num_fields)]
    if pa.types.is_struct(type_):
        return pa.struct(fields)
    if pa.types.is_union(type_):
        return pa.union(fields, type_.mode, type_.type_codes)
    return type_


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "no reason is given")
