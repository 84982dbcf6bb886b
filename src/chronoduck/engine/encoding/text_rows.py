"""Rows of text by the private engine, and their bytes without touching a single row."""

from __future__ import annotations

import pyarrow as pa

from chronoduck.engine.encoding.private_engine import BatchQuery

__all__ = ["TextRows"]


class TextRows:
    """Makes one text of each row. Every row carries its own end (a comma, a line end).

    The data buffer of the answer's string column is then the rows one after the other already.
    """

    def __init__(self, row: str) -> None:
        """``row``: SQL that is never NULL, over columns ``c0``, ``c1``, ..."""
        self._query = BatchQuery(row, large_strings=True)

    def joined(self, batch: pa.RecordBatch, *, before: bytes = b"", cut: int = 0) -> bytes:
        """Return the text of all rows after ``before``, without the last ``cut`` bytes."""
        if batch.num_rows == 0:
            return b""
        pieces = [
            _data(chunk)
            for chunk in self._query.run(pa.Table.from_batches([batch])).column(0).chunks
        ]
        if cut:
            pieces[-1] = pieces[-1][:-cut]
        return b"".join([before, *pieces])


def _data(texts: pa.LargeStringArray) -> memoryview:
    _, offsets, data = texts.buffers()
    starts = memoryview(offsets).cast("q")
    return memoryview(data)[starts[texts.offset] : starts[texts.offset + len(texts)]]
