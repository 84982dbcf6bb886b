"""Columns as the driver hands them over, into Arrow that DuckDB takes for what PostgreSQL meant.

PostgreSQL counts days and microseconds from 2000 and keeps the outermost numbers for infinity; the
driver adds the distance to 1970 and lets them wrap around. DuckDB's infinities are other numbers.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from chronoduck.sync.failures import SyncDataError

__all__ = ["plain_batch"]

_FIRST_DAY = -2_440_588  # 4713-11-24 BC, PostgreSQL's first
_WRAPPED_DAYS = {-2_147_472_692: 2_147_483_647, -2_147_472_691: -2_147_483_647}
_FIRST_MICROSECOND = _FIRST_DAY * 86_400_000_000
_WRAPPED_MICROSECONDS = {
    -9_222_425_352_054_775_809: 9_223_372_036_854_775_807,
    -9_222_425_352_054_775_808: -9_223_372_036_854_775_807,
}
"""What the driver makes of infinity and -infinity, and what they are in DuckDB."""


def plain_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch without the driver's own extension types and with DuckDB's infinities.

    Raises:
        SyncDataError: a time is beyond what DuckDB can hold.
    """
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            columns.append(_plain(column))
        except ValueError as error:
            raise SyncDataError(
                f"column {name}: {error}",
                hint=f'types = {{ {name} = "VARCHAR" }} takes it as text.',
            ) from None
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _plain(column: pa.Array) -> pa.Array:
    kind = column.type
    if isinstance(column, pa.ExtensionArray):
        # DuckDB knows the extension type of UUIDs; JSON comes as its text.
        return column if kind.extension_name == "arrow.uuid" else column.storage
    if pa.types.is_date32(kind):
        return _finite(column, pa.int32(), _FIRST_DAY, _WRAPPED_DAYS)
    if pa.types.is_timestamp(kind):
        return _finite(column, pa.int64(), _FIRST_MICROSECOND, _WRAPPED_MICROSECONDS)
    if pa.types.is_list(kind):
        return _plain_list(column)
    return column


def _plain_list(column: pa.ListArray) -> pa.Array:
    values = _plain(column.values)
    if values is column.values:
        return column
    return pa.Array.from_buffers(
        pa.list_(values.type),
        len(column),
        column.buffers()[:2],
        column.null_count,
        column.offset,
        children=[values],
    )


def _finite(
    column: pa.Array, storage: pa.DataType, first: int, wrapped: dict[int, int]
) -> pa.Array:
    numbers = column.view(storage)
    smallest = pc.min(numbers).as_py()
    if smallest is None or smallest >= first:
        return column
    rest = numbers
    for before, after in wrapped.items():
        is_infinite = pc.equal(numbers, pa.scalar(before, storage))
        rest = pc.if_else(is_infinite, pa.scalar(None, storage), rest)
        numbers = pc.if_else(is_infinite, pa.scalar(after, storage), numbers)
    smallest = pc.min(rest).as_py()
    if smallest is not None and smallest < first:
        raise ValueError("it holds a time that DuckDB cannot hold")
    return numbers.view(column.type)
