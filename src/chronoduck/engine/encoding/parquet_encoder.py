"""A Parquet file, handed out row group by row group."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chronoduck.engine.encoding.contract import EncodingOptions, ResultSchema, ResultSummary
from chronoduck.engine.encoding.portable_columns import PortableColumns

__all__ = ["ParquetEncoder"]


class _Drain(io.RawIOBase):
    """Keeps what the writer writes until it is taken; the position goes on counting."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


class ParquetEncoder:
    """Holds at most one row group: in Arrow's form while it fills, then its encoded bytes."""

    media_type = "application/vnd.apache.parquet"

    def __init__(self, schema: ResultSchema, options: EncodingOptions) -> None:
        self._columns = PortableColumns(schema, for_parquet=True)
        self._group_rows = options.parquet_row_group_size
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0
        self._drain = _Drain()
        self._writer = pq.ParquetWriter(
            self._drain,
            self._columns.schema,
            compression=options.parquet_compression.lower(),
            data_page_size=options.parquet_page_size,
            use_dictionary=options.parquet_enable_dictionary,
        )

    def head(self) -> bytes:
        """Return the magic bytes."""
        return self._drain.take()

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Return the row groups that this batch filled."""
        for part in self._columns.convert(batch):
            rest = part
            while rest.num_rows:
                missing = self._group_rows - self._held_rows
                self._hold(rest.slice(0, missing))
                rest = rest.slice(min(missing, rest.num_rows))
        return self._drain.take()

    def flush(self) -> bytes:
        """Return what is held as a row group of its own."""
        if self._held:
            self._write_group()
        return self._drain.take()

    def _hold(self, batch: pa.RecordBatch) -> None:
        self._held.append(batch)
        self._held_rows += batch.num_rows
        if self._held_rows == self._group_rows:
            self._write_group()

    def _write_group(self) -> None:
        group = pa.Table.from_batches(self._held, schema=self._columns.schema)
        self._held = []
        self._held_rows = 0
        self._writer.write_table(group, row_group_size=self._group_rows)

    def tail(self, summary: ResultSummary) -> bytes:
        """Return the last row group and the footer, which holds the summary as metadata."""
        if self._held:
            self._write_group()
        self._writer.add_key_value_metadata(
            {
                "chronoduck.row_count": str(summary.row_count),
                "chronoduck.truncated": "true" if summary.truncated else "false",
            }
        )
        self._writer.close()
        return self._drain.take()

    def failure(self, code: str, detail: str) -> None:
        """A file without its footer cannot be read; it must be cut."""
