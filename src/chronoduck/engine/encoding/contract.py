"""What an encoder is given and what it gives: schema, options, summary, the Protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

import pyarrow as pa
from duckdb.sqltypes import DuckDBPyType

from chronoduck.engine.type_names import type_name

__all__ = [
    "EncodingOptions",
    "ResultEncoder",
    "ResultFormat",
    "ResultSchema",
    "ResultSummary",
    "member_types",
    "unique_names",
]


class ResultFormat(Enum):
    """The formats that results are written in; the values are the names of the API."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    ARROW = "arrow"
    PARQUET = "parquet"

    @property
    def batch_rows(self) -> int:
        """Rows that are encoded and sent at a time.

        Arrow is only copied, and copies that fit the processor's cache cost half: a million rows
        take 0.13 s in batches of 16,384, 0.20 s in those of 122,880 (one of DuckDB's row groups).
        Text is made by an engine that has to be started for each: 0.58 s and 0.50 s.
        """
        return 16_384 if self is ResultFormat.ARROW else 122_880

    @property
    def flags_truncation(self) -> bool:
        """Whether a stream of it says at its end that it was truncated, where every reader looks."""
        return self in (ResultFormat.JSON, ResultFormat.NDJSON, ResultFormat.ARROW)


@dataclass(frozen=True)
class EncodingOptions:
    """How to write.

    ``json_numbers="safe"`` writes integers beyond 2^53 - 1 and every DECIMAL as strings, for readers
    whose numbers are doubles. The ``parquet_*`` values mean what the settings of that name mean.
    """

    json_numbers: Literal["exact", "safe"] = "exact"
    parquet_compression: Literal["ZSTD", "SNAPPY", "GZIP", "LZ4", "BROTLI", "NONE"] = "ZSTD"
    parquet_row_group_size: int = 1_000_000
    parquet_page_size: int = 1_048_576
    parquet_enable_dictionary: bool = True


@dataclass(frozen=True)
class ResultSchema:
    """The columns of a result: names, DuckDB's types as text and as objects, the Arrow schema."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    duckdb_types: tuple[DuckDBPyType, ...]
    arrow: pa.Schema

    @classmethod
    def of(
        cls, columns: Sequence[str], duckdb_types: Sequence[DuckDBPyType], arrow: pa.Schema
    ) -> ResultSchema:
        """Return the schema of a result, from its cursor's description and its reader."""
        return cls(tuple(columns), tuple(map(type_name, duckdb_types)), tuple(duckdb_types), arrow)


@dataclass(frozen=True)
class ResultSummary:
    """What is known at the end; ``execution_time`` in seconds, ``memory_usage`` in MB."""

    row_count: int
    truncated: bool
    execution_time: float
    memory_usage: float


class ResultEncoder(Protocol):
    """Writes one result: ``head``, ``rows`` for each batch, ``tail``; their bytes make the whole.

    Call it from one thread at a time, in a worker: ``rows`` computes. A batch that cannot be encoded
    raises OutOfMemoryError or EngineBugError.
    """

    media_type: str

    def head(self) -> bytes:
        """Return what comes before the first row."""
        ...

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Return the rows of a batch; may be empty when the format collects rows."""
        ...

    def tail(self, summary: ResultSummary) -> bytes:
        """Return what comes after the last row and marks the result as complete."""
        ...

    def failure(self, code: str, detail: str) -> bytes | None:
        """Return how the format says that the result is broken; None: it must be cut instead."""
        ...


def member_types(kind: DuckDBPyType) -> list[tuple[str, DuckDBPyType]]:
    """Return the types inside a nested one, with their names.

    ``child`` of a list or array, ``key`` and ``value`` of a map, the fields of a struct, the members
    of a union.
    """
    members = [(name, child) for name, child in kind.children if isinstance(child, DuckDBPyType)]
    return members[1:] if kind.id == "union" else members  # a union's first child is its tag


def unique_names(columns: Sequence[str]) -> list[str]:
    """Return the names with later duplicates numbered: ``a, a, b`` becomes ``a, a_1, b``.

    A number is skipped when a column of that name exists.
    """
    if len(set(columns)) == len(columns):
        return list(columns)
    taken = set(columns)
    seen: set[str] = set()
    unique = []
    for column in columns:
        name = column
        if column in seen:
            number = 1
            while (name := f"{column}_{number}") in taken:
                number += 1
            taken.add(name)
        seen.add(column)
        unique.append(name)
    return unique
