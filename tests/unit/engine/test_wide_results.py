"""Results of very many columns as text: in steps, with a look at the interrupt before each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import duckdb
import pyarrow as pa
import pytest

from chronoduck.engine.encoding import (
    EncodingOptions,
    ResultEncoder,
    ResultFormat,
    ResultSchema,
    open_encoder,
)
from chronoduck.errors import InvalidRequestError, StatementCancelledError

COLUMNS = 800
WIDE = "SELECT {} FROM range({})"


def opened(
    sql: str, name: str, check: Callable[[], None] = lambda: None
) -> tuple[ResultEncoder, pa.RecordBatch]:
    with duckdb.connect() as connection:
        relation = connection.sql(sql)
        table = relation.to_arrow_table().combine_chunks()
        schema = ResultSchema.of(relation.columns, relation.types, table.schema)
        encoder = open_encoder(ResultFormat(name), schema, "h", EncodingOptions(), check)
        return encoder, table.to_batches()[0]


def wide(rows: int) -> str:
    columns = (f"{{'a': range + {index}, 'b': 'x'}} AS c{index}" for index in range(COLUMNS))
    return WIDE.format(", ".join(columns), rows)


@pytest.mark.parametrize("rows", [3, 2_500])
def test_rows_that_are_written_in_groups_of_columns_are_whole(rows: int) -> None:
    encoder, batch = opened(wide(rows), "ndjson")
    lines = encoder.rows(batch).splitlines()
    assert len(lines) == rows
    for number in (0, rows - 1):
        expected = {f"c{index}": {"a": number + index, "b": "x"} for index in range(COLUMNS)}
        assert json.loads(lines[number]) == expected


def test_a_wide_document_and_a_wide_csv_file_are_whole() -> None:
    encoder, batch = opened(wide(3), "json")
    data = json.loads(b"[" + encoder.rows(batch) + b"]")
    assert [[value["a"] for value in row] for row in data] == [
        [number + index for index in range(COLUMNS)] for number in range(3)
    ]
    encoder, batch = opened(wide(3), "csv")
    rows = list(csv.reader(io.StringIO(encoder.rows(batch).decode())))
    assert [[json.loads(value)["a"] for value in row] for row in rows] == [
        [number + index for index in range(COLUMNS)] for number in range(3)
    ]


@pytest.mark.parametrize("name", ["json", "ndjson", "csv"])
def test_an_interrupt_ends_the_writing_of_wide_rows_before_its_end(name: str) -> None:
    """The whole takes seconds, and DuckDB would not listen before."""
    looks = 0

    def check() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise StatementCancelledError("stop")

    encoder, batch = opened(wide(100), name, check)
    with pytest.raises(StatementCancelledError):
        encoder.rows(batch)


def test_long_values_are_written_a_few_rows_at_a_time() -> None:
    looks: list[None] = []
    sql = "SELECT repeat('x', 1_000_000) AS x FROM range(40)"
    encoder, batch = opened(sql, "csv", lambda: looks.append(None))
    assert len(encoder.rows(batch)) == 40 * (1_000_000 + len("\r\n"))
    assert len(looks) >= 3


@pytest.mark.parametrize("name", ["json", "ndjson", "csv"])
def test_a_value_with_too_many_fields_is_refused_with_a_way_out(name: str) -> None:
    fields = ", ".join(f"'f{index}': range" for index in range(2_100))
    with pytest.raises(InvalidRequestError, match="2,000 fields") as caught:
        encoder, batch = opened(f"SELECT {{{fields}}} AS s FROM range(3)", name)
        encoder.rows(batch)
    assert "Arrow or Parquet" in str(caught.value.hint)
