"""An Arrow IPC stream that tells whether it is complete."""

from __future__ import annotations

import pyarrow as pa

from chronoduck.engine.encoding.contract import ResultSchema, ResultSummary
from chronoduck.engine.encoding.portable_columns import PortableColumns

__all__ = ["ArrowEncoder"]


class ArrowEncoder:
    """Schema, batches, and a last batch without rows that carries the summary as metadata.

    No column is a dictionary, so that every message stands on its own.
    """

    media_type = "application/vnd.apache.arrow.stream"

    def __init__(self, schema: ResultSchema) -> None:
        self._columns = PortableColumns(schema)

    def head(self) -> bytes:
        """Return the schema message."""
        return self._columns.schema.serialize().to_pybytes()  # type: ignore[no-any-return]

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Return the batch's messages, not compressed: HTTP does that where it is wanted."""
        return b"".join([part.serialize() for part in self._columns.convert(batch)])

    def tail(self, summary: ResultSummary) -> bytes:
        """Return the batch with the summary, and the end-of-stream marker."""
        schema = self._columns.schema
        metadata = {
            "chronoduck.complete": "true",
            "chronoduck.row_count": str(summary.row_count),
            "chronoduck.truncated": "true" if summary.truncated else "false",
        }
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema) as writer:
            writer.write_batch(_no_rows(schema), custom_metadata=metadata)
        stream: bytes = sink.getvalue().to_pybytes()
        return stream[schema.serialize().size :]

    def failure(self, code: str, detail: str) -> None:
        """A stream without its end is broken; it must be cut."""


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)
