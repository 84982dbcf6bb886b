"""Which encoder writes which format."""

from __future__ import annotations

from collections.abc import Callable

from chronoduck.engine.encoding.arrow_encoder import ArrowEncoder
from chronoduck.engine.encoding.contract import (
    EncodingOptions,
    ResultEncoder,
    ResultFormat,
    ResultSchema,
)
from chronoduck.engine.encoding.csv_encoder import CsvEncoder
from chronoduck.engine.encoding.json_encoders import JsonEncoder, NdjsonEncoder
from chronoduck.engine.encoding.parquet_encoder import ParquetEncoder

__all__ = ["open_encoder"]


def open_encoder(
    result_format: ResultFormat,
    schema: ResultSchema,
    query_hash: str,
    options: EncodingOptions,
    check: Callable[[], None] = lambda: None,
) -> ResultEncoder:
    """Return a new encoder for one result.

    ``check`` raises when the statement was interrupted; it is called now and then while rows are written.

    Raises:
        InvalidRequestError: a column has too many fields for the format.
        EngineBugError: the format has no form for one of the types.
    """
    match result_format:
        case ResultFormat.JSON:
            return JsonEncoder(schema, query_hash, options, check)
        case ResultFormat.NDJSON:
            return NdjsonEncoder(schema, query_hash, options, check)
        case ResultFormat.CSV:
            return CsvEncoder(schema, check)
        case ResultFormat.ARROW:
            return ArrowEncoder(schema)
        case ResultFormat.PARQUET:
            return ParquetEncoder(schema, options)
