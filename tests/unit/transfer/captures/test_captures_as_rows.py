"""Captures from Parquet, CSV, JSON and Arrow are added once, whatever came before."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.transfer import FileFormat, LoadSummary
from chronoduck.transfer.captures.table_rows import add_captures
from chronoduck.transfer.table_columns import TableColumn, columns_of
from tests.bare_captures import BareTable

INDEX = (
    " CDX N b a m s k S V g\n"
    "org,example)/a 20200102030405 http://www.example.org/a/ text/html 200 D1 303 1 a.warc.gz\n"
    "org,example)/b?a&b 20200102030405 http://example.org/b?b&a text/html 200 D2 303 2 a.warc.gz\n"
    "org,example)/%c3%bc 20200102030405 http://example.org/%C3%BC warc/revisit - D3 303 3 a.warc.gz\n"
)


@pytest.fixture
def table(tmp_path: Path) -> BareTable:
    return BareTable(tmp_path)


def columns(table: BareTable) -> list[TableColumn]:
    return columns_of(table, "pages_analytics")


def test_rows_of_the_table_itself_are_all_known(table: BareTable) -> None:
    table.load(INDEX)
    table.execute("CREATE TABLE saved AS FROM pages_analytics")
    before = table.rows()
    names = [column.name for column in columns(table)]
    assert add_captures(table, "SELECT * FROM saved", columns(table), names) == (0, 3)
    assert table.rows() == before
    table.execute("DELETE FROM pages_analytics WHERE digest <> 'D1'")
    assert add_captures(table, "SELECT * FROM saved", columns(table), names) == (2, 1)
    assert table.rows() == before


def test_keys_are_made_and_what_is_missing_is_filled_in(table: BareTable) -> None:
    rows = """
        SELECT 'http://WWW.Example.org/%C3%BC' AS url, TIMESTAMP '2020-01-02 03:04:05' AS captured_at,
            'sha1:D3' AS digest, 'Ü' AS title
        UNION ALL SELECT 'http://www.example.org/x', TIMESTAMP '2020-01-02 03:04:05', 'D4', NULL
        UNION ALL SELECT 'http://www.example.org/x', TIMESTAMP '2020-01-02 03:04:05', 'D4', NULL
    """
    names = ["url", "captured_at", "digest", "title"]
    table.load(INDEX)
    assert add_captures(table, rows, columns(table), names) == (1, 2)
    found = table.rows("urlkey, domain, tld, digest, title")
    assert ("org,example)/%c3%bc", "example.org", "org", "D3", "Ü") in found
    assert ("org,example)/x", "example.org", "org", "D4", None) in found


def test_rows_without_a_date_are_no_captures_and_all_stay(table: BareTable) -> None:
    rows = "SELECT 'http://a.org/' AS url, NULL::TIMESTAMP AS captured_at FROM range(3)"
    assert add_captures(table, rows, columns(table), ["url", "captured_at"]) == (3, 0)


@pytest.mark.parametrize("kind", ["parquet", "csv", "ndjson"])
async def test_a_file_of_captures_adds_only_what_is_new(service: DuckDBService, kind: str) -> None:
    loader = (await service.parts()).loader

    async def load(data: bytes, name: str) -> LoadSummary:
        kind = FileFormat(name.partition(".")[2])
        events = [
            event async for event in loader.load(io.BytesIO(data), name=name, file_format=kind)
        ]
        assert isinstance(events[-1], LoadSummary)
        return events[-1]

    await load(INDEX.encode(), "x.cdx")
    found = await service.execute_query("FROM pages_analytics")
    rows = pa.Table.from_pylist([dict(zip(found.columns, row, strict=True)) for row in found.data])
    out = io.BytesIO()
    if kind == "parquet":
        pq.write_table(rows, out)
    elif kind == "csv":
        pa_csv.write_csv(rows.select(["url", "captured_at", "digest"]), out)
    else:
        out.write(
            b'{"url":"http://example.org/a","captured_at":"2020-01-02T03:04:05","digest":"sha1:D1"}\n'
            b'{"url":"http://example.org/new","captured_at":"2020-01-02T03:04:05"}\n'
        )
    summary = await load(out.getvalue(), f"x.{kind}")
    expected = (1, 1) if kind == "ndjson" else (0, 3)
    assert (summary.rows_added, summary.duplicates) == expected
    count = (await service.execute_query("SELECT count(*) FROM pages_analytics")).data
    assert count == [(3 + expected[0],)]
