"""Results that are read while they are computed; what was broken off is never taken for an end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from chronoduck.client.arrow import BatchReader
from chronoduck.client.result import Row, RowReader

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AsyncBatchStream", "AsyncRowStream", "BatchStream", "RowStream"]

T = TypeVar("T")


class _Reader(Protocol[T]):
    @property
    def has_head(self) -> bool: ...
    def feed(self, piece: bytes) -> list[T]: ...
    def finish(self) -> list[T]: ...


class _Stream(Generic[T]):
    """An iterator that can be run through once.

    Raises while it is iterated:
        ConnectionBrokenError: the result broke off.
    """

    def __init__(self, reader: _Reader[T], pieces: Iterator[bytes]) -> None:
        self._reader = reader
        self._pieces = pieces
        self._first: list[T] = []
        for piece in pieces:
            self._first += reader.feed(piece)
            if reader.has_head:
                break

    def __iter__(self) -> Iterator[T]:
        first, self._first = self._first, []
        yield from first
        for piece in self._pieces:
            yield from self._reader.feed(piece)
        yield from self._reader.finish()


class _AsyncStream(Generic[T]):
    """The same for asyncio; ``begin`` comes first."""

    def __init__(self, reader: _Reader[T], pieces: AsyncIterator[bytes]) -> None:
        self._reader = reader
        self._pieces = pieces
        self._first: list[T] = []

    async def begin(self) -> None:
        """Read until it is known what the items are."""
        async for piece in self._pieces:
            self._first += self._reader.feed(piece)
            if self._reader.has_head:
                break

    async def __aiter__(self) -> AsyncIterator[T]:
        first, self._first = self._first, []
        for item in first:
            yield item
        async for piece in self._pieces:
            for item in self._reader.feed(piece):
                yield item
        for item in self._reader.finish():
            yield item


class _RowFacts:
    _rows: RowReader

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        return self._rows.columns

    @property
    def types(self) -> list[str]:
        """DuckDB's names of their types."""
        return self._rows.types

    @property
    def summary(self) -> dict[str, Any]:
        """``row_count``, ``truncated`` and ``execution_time``, once the last row was read."""
        return self._rows.summary


class _BatchFacts:
    _batches: BatchReader

    @property
    def schema(self) -> pa.Schema:
        """The schema of every batch."""
        return self._batches.schema


class RowStream(_RowFacts, _Stream[Row]):
    """Rows as tuples of Python values, while they are computed."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._rows = RowReader()
        super().__init__(self._rows, pieces)


class BatchStream(_BatchFacts, _Stream["pa.RecordBatch"]):
    """Arrow record batches, while they are computed."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._batches = BatchReader()
        super().__init__(self._batches, pieces)


class AsyncRowStream(_RowFacts, _AsyncStream[Row]):
    """Rows as tuples of Python values, while they are computed."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._rows = RowReader()
        super().__init__(self._rows, pieces)


class AsyncBatchStream(_BatchFacts, _AsyncStream["pa.RecordBatch"]):
    """Arrow record batches, while they are computed."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._batches = BatchReader()
        super().__init__(self._batches, pieces)
