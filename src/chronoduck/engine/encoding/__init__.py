"""Results into bytes: JSON, NDJSON, CSV, Arrow and Parquet, batch by batch.

Small JSON batches are written by Python, all other text by a DuckDB instance of this room's own. It
knows Arrow batches and DuckDB's types; it knows nothing of connections, statements, or HTTP.
docs/results.md tells the form of every type and how a reader knows that a result is complete.
"""

from chronoduck.engine.encoding.contract import (
    EncodingOptions,
    ResultEncoder,
    ResultFormat,
    ResultSchema,
    ResultSummary,
)
from chronoduck.engine.encoding.opening import open_encoder
from chronoduck.engine.encoding.partitions import PartitionedRows
from chronoduck.engine.encoding.private_engine import close_private_engines, open_private_engines
from chronoduck.engine.encoding.stored_types import select_list

__all__ = [
    "EncodingOptions",
    "PartitionedRows",
    "ResultEncoder",
    "ResultFormat",
    "ResultSchema",
    "ResultSummary",
    "close_private_engines",
    "open_encoder",
    "open_private_engines",
    "select_list",
]
