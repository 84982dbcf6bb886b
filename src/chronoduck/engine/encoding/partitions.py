"""A result into files by the values of some of its columns, as DuckDB lays them out.

The service writes them, not the engine's COPY: the bytes of each file are counted before they are
written, the engine runs the user's own text and nothing around it, and it needs no folder to write to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from duckdb.sqltypes import DuckDBPyType

from chronoduck.engine.encoding.contract import (
    EncodingOptions,
    ResultEncoder,
    ResultFormat,
    ResultSchema,
    ResultSummary,
    unique_names,
)
from chronoduck.engine.encoding.json_forms import JsonForms
from chronoduck.engine.encoding.nested_maps import holds_map
from chronoduck.engine.encoding.opening import open_encoder
from chronoduck.engine.encoding.parquet_encoder import ParquetEncoder
from chronoduck.engine.encoding.private_engine import BatchQuery
from chronoduck.errors import DuckDBQueryError, LimitExceededError
from chronoduck.sql.rules.file_names import folded

__all__ = ["PartitionedRows"]

_NULL = "__HIVE_DEFAULT_PARTITION__"
_LIKE_NULL = frozenset({_NULL.lower(), "null"})
"""Texts that some reader takes for NULL, in lower case; DuckDB 1.5 takes ``null`` for it."""
_NAME_BYTES = 255
"""What file systems take as one part of a path."""
_HELD_BYTES = 64_000_000
"""Rows of Parquet that wait in memory for more of their partition, of all partitions together."""

_Places = npt.NDArray[np.int64]
Write = Callable[[str, bytes], None]


@dataclass(slots=True)
class _Partition:
    folder: str
    encoder: ResultEncoder
    rows: int = 0


class PartitionedRows:
    """Takes batches, and hands out the bytes of each partition's file.

    ``write(folder, bytes)`` appends to the file of a folder (``tld=org/day=2024-01-02``). The columns
    of the folders are not in the files. A text that looks like NULL is told by its first letter, as
    DuckDB 2.0 does it: ``%5F_HIVE_DEFAULT_PARTITION__``. Call it from one thread at a time, in a worker.
    """

    def __init__(
        self,
        schema: ResultSchema,
        by: Sequence[str],
        result_format: ResultFormat,
        options: EncodingOptions,
        write: Write,
        *,
        most: int,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """``most``: how many partitions there may be. ``check`` raises after an interrupt.

        Raises:
            DuckDBQueryError: a column is not there or named twice, or there are no others.
        """
        self._by = _positions(schema.columns, by)
        self._rest = [n for n in range(len(schema.columns)) if n not in self._by]
        if not self._rest:
            raise DuckDBQueryError(
                "all columns are those of the folders: nothing is left for the files",
                hint="Name fewer columns in partition_by.",
                category="binder",
            )
        names = unique_names(schema.columns)
        self._names = [quote(names[n], safe="") for n in self._by]
        texts = [_text(schema.duckdb_types[n], f"c{place}") for place, n in enumerate(self._by)]
        self._texts = BatchQuery(", ".join(texts), large_strings=True)
        self._schema = ResultSchema(
            tuple(names[n] for n in self._rest),
            tuple(schema.types[n] for n in self._rest),
            tuple(schema.duckdb_types[n] for n in self._rest),
            pa.schema([schema.arrow.field(n) for n in self._rest]),
        )
        self._format = result_format
        self._options = options
        self._write = write
        self._most = most
        self._check = check
        self._partitions: dict[tuple[str | None, ...], _Partition] = {}
        self._held_bytes = 0
        # Text has no state: one encoder writes the rows of all partitions.
        self._shared = result_format is not ResultFormat.PARQUET
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Write the rows of a batch, each into its partition.

        Raises:
            LimitExceededError: there are more partitions than may be.
            DuckDBQueryError: a value is too long for the name of a folder.
        """
        if not batch.num_rows:
            return
        texts = self._texts.run(pa.Table.from_batches([batch]).select(self._by))
        columns = [pc.dictionary_encode(each, "encode").combine_chunks() for each in texts.columns]
        order, starts = _grouped([_codes(each) for each in columns])
        rest = _taken(batch.select(self._rest), order)
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            values = tuple(each[int(order[start])].as_py() for each in columns)
            partition = self._partitions.get(values) or self._begin(values)
            for part in rest(start, end):
                partition.rows += part.num_rows
                self._held_bytes += part.nbytes
                self._append(partition, partition.encoder.rows(part))
        self.rows += batch.num_rows
        if self._shared:
            self._held_bytes = 0
        elif self._held_bytes > _HELD_BYTES:
            self._flush()

    def _begin(self, values: tuple[str | None, ...]) -> _Partition:
        if len(self._partitions) >= self._most:
            raise LimitExceededError(
                f"the columns of the folders have more than {self._most:,} values",
                hint="Take columns with fewer values, or have DUCKDB_EXPORT_PARTITIONS raised.",
            )
        parts = [
            f"{name}={_NULL if value is None else _escaped(value)}"
            for name, value in zip(self._names, values, strict=True)
        ]
        if any(len(part) > _NAME_BYTES for part in parts):
            raise DuckDBQueryError(
                "a value is too long for the name of a folder",
                hint=f"Names have at most {_NAME_BYTES} bytes, other characters than letters three each.",
                category="binder",
            )
        if self._shared and self._partitions:
            encoder = next(iter(self._partitions.values())).encoder
        else:
            encoder = open_encoder(self._format, self._schema, "", self._options, self._check)
        partition = self._partitions[values] = _Partition("/".join(parts), encoder)
        self._append(partition, encoder.head())
        return partition

    def _append(self, partition: _Partition, data: bytes) -> None:
        if data:
            self._write(partition.folder, data)

    def _flush(self) -> None:
        self._held_bytes = 0
        for partition in self._partitions.values():
            if isinstance(partition.encoder, ParquetEncoder):
                self._append(partition, partition.encoder.flush())

    def finish(self) -> None:
        """Write the ends of all files. A line of JSON is a row, also the last one."""
        for partition in self._partitions.values():
            if not self._shared:
                summary = ResultSummary(partition.rows, False, 0.0, 0.0)
                self._append(partition, partition.encoder.tail(summary))


def _text(kind: DuckDBPyType, x: str) -> str:
    """Return the SQL of what a folder is called by; a MAP, which readers have no text of, is JSON."""
    if holds_map(kind):
        return JsonForms(safe_numbers=False).of_column(kind, x)
    return f"CAST({x} AS VARCHAR)"


def _escaped(value: str) -> str:
    """Return a text as part of a folder's name; no two texts have the same, and none has NULL's."""
    if value.lower() in _LIKE_NULL:
        return f"%{ord(value[0]):02X}{value[1:]}"
    return quote(value, safe="")


def _positions(columns: Sequence[str], by: Sequence[str]) -> list[int]:
    """Return where the named columns are; names are compared as SQL does."""
    known = [folded(column) for column in columns]
    found = []
    for name in by:
        if name not in columns and folded(name) not in known:
            raise DuckDBQueryError(
                f"the result has no column {name[:80]}",
                hint="partition_by names columns of the result.",
                category="binder",
            )
        found.append(columns.index(name) if name in columns else known.index(folded(name)))
    if len(set(found)) < len(found):
        raise DuckDBQueryError(
            "partition_by names a column twice", hint="Leave one out.", category="binder"
        )
    return found


def _codes(column: pa.Array) -> _Places:
    codes: _Places = column.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _grouped(codes: Sequence[_Places]) -> tuple[_Places, list[int]]:
    """Return the rows in an order in which equal ones are neighbors, and where each group begins."""
    order = np.lexsort(codes)
    is_new = np.zeros(len(order), dtype=bool)
    is_new[0] = True
    for each in codes:
        is_new[1:] |= each[order][1:] != each[order][:-1]
    return order, [int(start) for start in np.flatnonzero(is_new)]


def _taken(batch: pa.RecordBatch, order: _Places) -> Callable[[int, int], Iterator[pa.RecordBatch]]:
    """Return what gives the rows from one place of the order to another."""
    try:
        taken = batch.take(pa.array(order))
    except pa.ArrowNotImplementedError:  # a type that Arrow cannot put into another order

        def runs(start: int, end: int) -> Iterator[pa.RecordBatch]:
            places = order[start:end]
            breaks = np.flatnonzero(np.diff(places) != 1) + 1
            for run in np.split(places, breaks):
                yield batch.slice(int(run[0]), len(run))

        return runs

    def slices(start: int, end: int) -> Iterator[pa.RecordBatch]:
        yield taken.slice(start, end - start)

    return slices
