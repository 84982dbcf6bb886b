"""Rows of text by the private engine, and their bytes without touching a single row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from chronoduck.engine.encoding.contract import ResultSchema
from chronoduck.engine.encoding.private_engine import BatchQuery
from chronoduck.errors import InvalidRequestError

__all__ = ["TextRows"]

_NOTHING = pa.scalar("", pa.large_string())
_MAX_FIELDS = 2_000
"""Of one column. The engine binds their text in a second, and twice as many in three."""
_SQL_AT_ONCE = 100_000
"""Characters of SQL that are bound at once: 0.2 s."""
_BYTES_AT_ONCE = 16_000_000
"""What is written at once: 0.2 s."""
_ROWS_AT_ONCE = 2_048
"""DuckDB makes room for so many values of each expression; with fewer rows it takes as long."""


class TextRows:
    """Makes one text of each row. Every row carries its own end (a comma, a line end).

    The data buffer of the answer's string column is then the rows one after the other already.

    DuckDB does not look at an interrupt while it binds or evaluates one expression, so that wide rows
    are written in several steps: some columns, some rows, and a look at ``check`` before each.
    """

    def __init__(
        self, columns: Sequence[str], end: str, schema: ResultSchema, check: Callable[[], None]
    ) -> None:
        """``columns``: for each one arguments of ``concat``, over its name ``c0``, ``c1``, ...

        ``end``: the last argument of ``concat``. ``check`` raises when the statement was interrupted.

        Raises:
            InvalidRequestError: a column has too many fields.
        """
        self._check = check
        for name, field in zip(schema.columns, schema.arrow, strict=True):
            if _count_fields(field.type) > _MAX_FIELDS:
                raise InvalidRequestError(
                    f"column {name[:100]!r} has more than {_MAX_FIELDS:,} fields inside each other, "
                    "too many for JSON or CSV",
                    hint="Ask for Arrow or Parquet, or select some of the fields.",
                )
        self._groups = [
            (first, last, BatchQuery(f"concat({row})", large_strings=True, first=first))
            for first, last, row in _grouped(columns, end)
        ]

    def joined(self, batch: pa.RecordBatch, *, before: bytes = b"", cut: int = 0) -> bytes:
        """Return the text of all rows after ``before``, without the last ``cut`` bytes."""
        if batch.num_rows == 0:
            return b""
        pieces: list[bytes | memoryview] = [before]
        for rows in self._sliced(batch):
            pieces += [_data(chunk) for chunk in self._texts(rows).chunks]
        if cut:
            pieces[-1] = pieces[-1][:-cut]
        return b"".join(pieces)

    def _sliced(self, batch: pa.RecordBatch) -> Iterator[pa.Table]:
        step = max(1, _BYTES_AT_ONCE * batch.num_rows // max(1, batch.nbytes))
        if len(self._groups) > 1:
            step = _ROWS_AT_ONCE
        table = pa.Table.from_batches([batch])
        for start in range(0, batch.num_rows, step):
            self._check()
            yield table.slice(start, step)

    def _texts(self, table: pa.Table) -> pa.ChunkedArray:
        if len(self._groups) == 1:
            return self._groups[0][2].run(table).column(0)
        columns = []
        for first, last, query in self._groups:
            self._check()
            columns.append(query.run(table.select(range(first, last))).column(0).combine_chunks())
        return pa.chunked_array([pc.binary_join_element_wise(*columns, _NOTHING)])


def _grouped(columns: Sequence[str], end: str) -> Iterator[tuple[int, int, str]]:
    """Yield the first column, the one behind the last, and the arguments of each group."""
    first, length = 0, 0
    for index, column in enumerate(columns):
        if length and length + len(column) > _SQL_AT_ONCE:
            yield first, index, ", ".join(columns[first:index])
            first, length = index, 0
        length += len(column)
    yield first, len(columns), ", ".join([*columns[first:], end])


def _count_fields(kind: pa.DataType) -> int:
    """Return how many values a type holds, lists counted as one; counting ends soon beyond the bound."""
    count, stack = 0, [kind]
    while stack and count <= _MAX_FIELDS:
        part = stack.pop()
        if pa.types.is_nested(part):
            stack.extend(part.field(index).type for index in range(part.num_fields))
        count += 1
    return count


def _data(texts: pa.LargeStringArray) -> memoryview:
    _, offsets, data = texts.buffers()
    starts = memoryview(offsets).cast("q")
    return memoryview(data)[starts[texts.offset] : starts[texts.offset + len(texts)]]
