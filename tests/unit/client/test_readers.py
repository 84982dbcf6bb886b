"""Results that come in pieces of any size, and those that end too early."""

from __future__ import annotations

import pyarrow as pa
import pytest

from chronoduck.client.arrow import BatchReader, read_table
from chronoduck.client.problems import ConnectionBrokenError
from chronoduck.client.result import RowReader, read_result

DOCUMENT = (
    '{"columns":["a","b"],"types":["DECIMAL(3,2)","VARCHAR"],"query_hash":"x",'
    '"data":[[1.50,"é],[\\"😀"],[null,"]}"],[2.00,""]],'
    '"row_count":3,"truncated":false,"execution_time":0.1,"memory_usage":1.0}'
).encode()
ROWS = [("1.50", 'é],["😀'), ("None", "]}"), ("2.00", "")]


def arrow_stream(*sizes: int, is_complete: bool = True) -> bytes:
    sink = pa.BufferOutputStream()
    schema = pa.schema([("a", pa.int64()), ("b", pa.string())])
    with pa.ipc.new_stream(sink, schema) as writer:
        for size in sizes:
            values = [list(range(size)), ["x" * index for index in range(size)]]
            writer.write_batch(pa.record_batch(values, schema=schema))
        if is_complete:
            end = pa.record_batch([[], []], schema=schema)
            writer.write_batch(end, custom_metadata={"chronoduck.complete": "true"})
    return bytes(sink.getvalue())


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 2, 7, 50, 10_000])
def test_rows_are_the_same_in_pieces_of_any_size(size: int) -> None:
    reader = RowReader()
    rows = [row for piece in pieces(DOCUMENT, size) for row in reader.feed(piece)]
    rows += reader.finish()
    assert [(str(a), b) for a, b in rows] == ROWS
    assert rows == read_result(DOCUMENT).rows
    assert (reader.columns, reader.types) == (["a", "b"], ["DECIMAL(3,2)", "VARCHAR"])
    assert reader.summary["row_count"] == 3


@pytest.mark.parametrize("end", range(len(DOCUMENT)))
def test_a_document_that_is_cut_anywhere_is_broken(end: int) -> None:
    with pytest.raises(ConnectionBrokenError):
        read_result(DOCUMENT[:end])
    reader = RowReader()
    reader.feed(DOCUMENT[:end])
    with pytest.raises(ConnectionBrokenError):
        reader.finish()


@pytest.mark.parametrize("size", [1, 3, 64, 100_000])
def test_batches_are_the_same_in_pieces_of_any_size(size: int) -> None:
    stream = arrow_stream(10, 1, 100)
    reader = BatchReader()
    batches = [batch for piece in pieces(stream, size) for batch in reader.feed(piece)]
    batches += reader.finish()
    assert [batch.num_rows for batch in batches] == [10, 1, 100]
    assert pa.Table.from_batches(batches) == read_table(stream)


def test_a_stream_of_arrow_that_is_cut_anywhere_is_broken() -> None:
    stream = arrow_stream(3)
    last = len(stream) - 8  # the end-of-stream marker; what is before it says that it is complete
    for end in range(last):
        with pytest.raises(ConnectionBrokenError):
            read_table(stream[:end])
        reader = BatchReader()
        reader.feed(stream[:end])
        with pytest.raises(ConnectionBrokenError):
            reader.finish()


def test_a_stream_that_ends_well_but_does_not_say_so_is_broken() -> None:
    with pytest.raises(ConnectionBrokenError):
        read_table(arrow_stream(3, is_complete=False))
    reader = BatchReader()
    reader.feed(arrow_stream(3, is_complete=False))
    with pytest.raises(ConnectionBrokenError):
        reader.finish()


def test_what_is_no_arrow_is_broken() -> None:
    with pytest.raises(ConnectionBrokenError):
        BatchReader().feed(b"<html>502 Bad Gateway</html>")
