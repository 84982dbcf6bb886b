"""JSON documents and NDJSON lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import orjson
import pyarrow as pa

from chronoduck.engine.encoding.contract import (
    EncodingOptions,
    ResultSchema,
    ResultSummary,
    unique_names,
)
from chronoduck.engine.encoding.json_forms import JsonForms, quote
from chronoduck.engine.encoding.small_batches import SmallBatchReader
from chronoduck.engine.encoding.text_rows import TextRows

__all__ = ["JsonEncoder", "NdjsonEncoder"]


def _values(schema: ResultSchema, options: EncodingOptions) -> list[str]:
    """Return the SQL of each column's JSON text."""
    forms = JsonForms(safe_numbers=options.json_numbers == "safe")
    return [
        f"coalesce({forms.of_column(kind, f'c{index}')}, 'null')"
        for index, kind in enumerate(schema.duckdb_types)
    ]


def _columns(literals: Iterable[str], values: Iterable[str]) -> list[str]:
    """Return the SQL of each column's part of a row: a literal before its value."""
    pieces = zip(literals, values, strict=True)
    return [f"{quote(literal)}, {value}" for literal, value in pieces]


class JsonEncoder:
    """One document: columns, types, query_hash, data (arrays), then the summary."""

    media_type = "application/json"

    def __init__(
        self,
        schema: ResultSchema,
        query_hash: str,
        options: EncodingOptions,
        check: Callable[[], None],
    ) -> None:
        self._schema = schema
        self._check = check
        self._query_hash = query_hash
        self._options = options
        self._small = SmallBatchReader(schema.types, safe_numbers=options.json_numbers == "safe")
        self._text: TextRows | None = None
        self._is_first = True

    def head(self) -> bytes:
        """Return the document up to its data."""
        opening = {
            "columns": self._schema.columns,
            "types": self._schema.types,
            "query_hash": self._query_hash,
        }
        return orjson.dumps(opening)[:-1] + b',"data":['

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Return the rows as arrays, separated by commas and from the rows before."""
        if batch.num_rows == 0:
            return b""
        separator = b"" if self._is_first else b","
        self._is_first = False
        small = self._small.rows(batch)
        if small is not None:
            return separator + orjson.dumps(small)[1:-1]
        if self._text is None:
            self._text = self._rows_of_text()
        return self._text.joined(batch, before=separator, cut=1)

    def _rows_of_text(self) -> TextRows:
        values = _values(self._schema, self._options)
        starts = ["[", *[","] * (len(values) - 1)]
        return TextRows(_columns(starts, values), "'],'", self._schema, self._check)

    def tail(self, summary: ResultSummary) -> bytes:
        """Return the document from the end of its data on."""
        return b"]," + orjson.dumps(_summary(summary))[1:]

    def failure(self, code: str, detail: str) -> None:
        """A document that is cut is not valid; nothing in it can say more."""


class NdjsonEncoder:
    """One object a line, and a last line ``{"_chronoduck": {...}}``, there only at the end."""

    media_type = "application/x-ndjson"

    def __init__(
        self,
        schema: ResultSchema,
        query_hash: str,
        options: EncodingOptions,
        check: Callable[[], None],
    ) -> None:
        self._schema = schema
        self._check = check
        self._query_hash = query_hash
        self._options = options
        self._names = unique_names(schema.columns)
        self._small = SmallBatchReader(schema.types, safe_numbers=options.json_numbers == "safe")
        self._text: TextRows | None = None

    def head(self) -> bytes:
        """Return nothing: the first line is the first row."""
        return b""

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Return the rows as lines."""
        small = self._small.rows(batch)
        if small is not None:
            dumps, names, line_end = orjson.dumps, self._names, orjson.OPT_APPEND_NEWLINE
            return b"".join(
                [dumps(dict(zip(names, row, strict=True)), option=line_end) for row in small]
            )
        if self._text is None:
            self._text = self._rows_of_text()
        return self._text.joined(batch)

    def _rows_of_text(self) -> TextRows:
        keys = [orjson.dumps(name).decode() + ":" for name in self._names]
        starts = [("," if index else "{") + key for index, key in enumerate(keys)]
        values = _values(self._schema, self._options)
        columns = _columns(starts, values)
        return TextRows(columns, "'}' || chr(10)", self._schema, self._check)

    def tail(self, summary: ResultSummary) -> bytes:
        """Return the last line of a complete result."""
        told = {"complete": True, **_summary(summary), "query_hash": self._query_hash}
        return _last_line(told)

    def failure(self, code: str, detail: str) -> bytes:
        """Return the last line of a broken result."""
        return _last_line({"complete": False, "error": {"code": code, "detail": detail}})


def _last_line(told: dict[str, object]) -> bytes:
    return orjson.dumps({"_chronoduck": told}, option=orjson.OPT_APPEND_NEWLINE)


def _summary(summary: ResultSummary) -> dict[str, object]:
    return {
        "row_count": summary.row_count,
        "truncated": summary.truncated,
        "execution_time": round(summary.execution_time, 6),
        "memory_usage": round(summary.memory_usage, 3),
    }
