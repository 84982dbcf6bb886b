"""A result as rows of Python values, read from the service's JSON, whole or piece by piece."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chronoduck.client.arrow_tables import table_of
from chronoduck.client.problems import ConnectionBrokenError
from chronoduck.client.values import RowConverter

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Result", "RowReader", "read_result"]

Row = tuple[Any, ...]
_DECODER = json.JSONDecoder()
_SUMMARY = ("row_count", "truncated", "execution_time")
_BLOCK_BYTES = 65_536
_SPACE_AND_COMMA = " \t\r\n,"


@dataclass(frozen=True)
class Result:
    """Rows as tuples of Python values; iterable.

    ``types`` are DuckDB's names of the columns' types. ``truncated`` tells that there were more rows
    than the caller, or the credential, may have.
    """

    columns: list[str]
    types: list[str]
    rows: list[Row] = field(repr=False)
    row_count: int
    truncated: bool
    execution_time: float
    """Seconds in the engine."""
    query_hash: str

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def scalar(self) -> Any:
        """Return the first value of the first row; None when there is no row."""
        return self.rows[0][0] if self.rows else None

    def dicts(self) -> list[dict[str, Any]]:
        """Return the rows as dicts; of columns with one name the last one is kept."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_arrow(self) -> pa.Table:
        """Return a ``pyarrow.Table`` with the types that the service's Arrow has.

        Large results come faster, and NaN as NaN, by ``Client.arrow``.

        Raises:
            InvalidRequestError: a value has no Arrow form, such as an infinite date.
        """
        return table_of(self.columns, self.types, self.rows)

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame``."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """Return a ``polars.DataFrame``."""
        import polars  # noqa: PLC0415 - an optional package

        return polars.from_arrow(self.to_arrow())


def read_result(document: bytes) -> Result:
    """Return the result that a JSON document is.

    It is read in blocks: half a million rows as lists, which the garbage collector looks through again
    and again, take twice as long as those that become tuples at once.

    Raises:
        ConnectionBrokenError: the document is not complete.
    """
    reader = RowReader()
    rows: list[Row] = []
    for start in range(0, len(document), _BLOCK_BYTES):
        rows += reader.feed(document[start : start + _BLOCK_BYTES])
    rows += reader.finish()
    return Result(
        reader.columns, reader.types, rows, query_hash=reader.query_hash, **reader.summary
    )


class _Head:
    """What stands in a document before the rows."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}

    def read(self, text: str) -> int | None:
        """Return where the rows begin; None when the text ends before them."""
        position = 1
        try:
            while True:
                name, position = _DECODER.raw_decode(text, position)
                if text[position] != ":":
                    return None
                if name == "data":
                    return position + 2
                self.fields[name], position = _DECODER.raw_decode(text, position + 1)
                position += 1
        except (json.JSONDecodeError, IndexError):
            return None


class RowReader:
    """Reads a document piece by piece and holds no row longer than it takes to hand it over."""

    def __init__(self) -> None:
        self.columns: list[str] = []
        self.types: list[str] = []
        self.query_hash = ""
        self.summary: dict[str, Any] = {}
        """``row_count``, ``truncated``, ``execution_time`` once all rows were read; else empty."""
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._pending = ""
        self._look_at = 0
        self._converter: RowConverter | None = None
        self._decoder = _DECODER
        self._row_count = 0

    @property
    def has_head(self) -> bool:
        """Whether columns and types are known."""
        return self._converter is not None

    def feed(self, piece: bytes) -> list[Row]:
        """Return the rows that are complete with this piece."""
        self._pending += self._utf8.decode(piece)
        if len(self._pending) < self._look_at:
            return []  # a row of many pieces is not begun again with each of them
        rows = self._rows()
        self._look_at = 2 * len(self._pending)
        return rows

    def finish(self) -> list[Row]:
        """Return the last rows, at the end of the document.

        Raises:
            ConnectionBrokenError: it is not its end.
        """
        rows = self._rows()
        try:
            told = json.loads("{" + self._pending.lstrip("],"))
            self.summary = {name: told[name] for name in _SUMMARY}
        except (json.JSONDecodeError, KeyError):
            self.summary = {}
        if self.summary.get("row_count") != self._row_count:
            raise ConnectionBrokenError("the result broke off before its end")
        return rows

    def _rows(self) -> list[Row]:
        text, position = self._pending, 0
        if self._converter is None:
            head = _Head()
            start = head.read(text)
            if start is None:
                return []
            self.columns, self.types = head.fields["columns"], head.fields["types"]
            self.query_hash = head.fields["query_hash"]
            self._converter = RowConverter(self.types)
            self._decoder = json.JSONDecoder(parse_float=self._converter.parse_float)
            position = start
        found: list[list[Any]] = []
        decode = self._decoder.raw_decode
        try:
            while True:
                while text[position] in _SPACE_AND_COMMA:
                    position += 1
                if text[position] != "[":
                    break  # the end of the rows
                row, position = decode(text, position)
                found.append(row)
        except (json.JSONDecodeError, IndexError):
            pass  # the rest of this row is still to come
        self._pending = text[position:]
        self._row_count += len(found)
        return self._converter.rows(found)
