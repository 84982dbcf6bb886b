"""A NUL byte in any text that becomes SQL is refused before anything runs, by every route."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBQueryError, SettingsError, TemplateError
from chronoduck.export import read_export_file
from chronoduck.service.templates.source import TemplateSource
from chronoduck.settings import ExportSettings, Settings
from chronoduck.sync import read_sync_file
from tests.spreadsheets import xlsx

STATEMENTS = (
    "DELETE FROM t\0 WHERE i = 3",
    "DELETE FROM t -- a comment\0\n WHERE i = 3",
    "DELETE FROM t /* \0 */ WHERE i = 3",
    "DELETE FROM t WHERE i::VARCHAR <> 'a\0b'",
    'DELETE FROM t WHERE i > 0 RETURNING i AS "a\0b"',
    "DELETE FROM t WHERE $$a\0b$$ <> 'x'",
    "\0DELETE FROM t",
    "DELETE FROM t\0",
    "UPDATE t SET i = 0\0 WHERE i = 3",
    "INSERT INTO t VALUES (1)\0, (2)",
    "DROP TABLE t\0x",
    "CREATE TABLE other AS SELECT 1 AS a\0, 2 AS b",
    "SELECT 'a\0b'",
    "EXPLAIN ANALYZE DELETE FROM t\0 WHERE i = 3",
)
CHANGED = "SELECT count(*), sum(i), (SELECT count(*) FROM duckdb_tables()) FROM t"


@pytest.fixture
async def table(app_service: DuckDBService, admin: httpx2.AsyncClient) -> httpx2.AsyncClient:
    made = await admin.post("/query", json={"query": "CREATE TABLE t AS FROM range(10) r(i)"})
    assert made.status_code == 200, made.text
    return admin


async def state(service: DuckDBService) -> list[tuple[Any, ...]]:
    return list((await service.execute_query(CHANGED)).data)


def assert_told(answer: httpx2.Response) -> None:
    assert answer.status_code in (400, 422), answer.text
    assert "NUL byte" in answer.json()["detail"], answer.text


@pytest.fixture
def settings(make_settings: Callable[..., Settings], tmp_path: Path) -> Settings:
    return make_settings(export=ExportSettings(url=str(tmp_path / "exports")))


async def test_statements(table: httpx2.AsyncClient, app_service: DuckDBService) -> None:
    before = await state(app_service)
    for sql in STATEMENTS:
        await refused_everywhere(sql, table, app_service)
        assert await state(app_service) == before, sql


async def refused_everywhere(sql: str, table: httpx2.AsyncClient, service: DuckDBService) -> None:
    for kind in ("json", "ndjson", "csv", "arrow", "parquet"):
        assert_told(await table.post(f"/query?format={kind}", json={"query": sql}))
    for together in (True, False):
        for queries in ([sql], ["DELETE FROM t", sql], [{"query": sql, "params": None}]):
            body = {"queries": queries, "use_transaction": together}
            assert_told(await table.post("/batch", json=body))
    for analyze in (True, False):
        assert_told(await table.post("/explain", json={"query": sql, "analyze": analyze}))
    assert_told(await table.post("/jobs", json={"query": sql}))
    assert_told(await table.post("/exports", json={"query": sql}))
    assert_told(await table.post("/exports", json={"query": sql, "partition_by": ["i"]}))
    with pytest.raises(DuckDBQueryError, match="NUL byte"):
        await service.execute_query(sql)
    with pytest.raises(DuckDBQueryError, match="NUL byte"):
        async with service.transaction() as transaction:
            await transaction.execute(sql)


async def test_the_place_is_told_and_what_to_do(table: httpx2.AsyncClient) -> None:
    answer = await table.post("/query", json={"query": "SELECT\n 1\0"})
    problem = answer.json()
    assert (problem["code"], problem["category"]) == ("query_error", "nul_byte")
    assert problem["position"] == {"line": 2, "column": 3}
    assert "parameter" in problem["hint"]


async def test_parameters_may_hold_one(table: httpx2.AsyncClient) -> None:
    body = {"query": "SELECT $p AS p, chr(0) AS c", "params": {"p": "a\0b"}}
    assert (await table.post("/query", json=body)).json()["data"] == [["a\0b", "\0"]]


def _arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


ODD = pa.table({"i": [1], "a\0b": [2]})
BODIES = {
    "text/csv": b"i,a\0b\r\n1,2\r\n",
    "application/json": json.dumps([{"i": 1, "a\0b": 2}]).encode(),
    "application/x-ndjson": json.dumps({"i": 1, "a\0b": 2}).encode(),
    "application/vnd.apache.arrow.stream": _arrow(ODD),
    "application/vnd.apache.parquet": _parquet(ODD),
}


MODES = ("", "?mode=replace", "?mode=upsert&key=i", "?on_error=skip", "?dry_run=true")


async def test_names_of_columns(table: httpx2.AsyncClient, app_service: DuckDBService) -> None:
    before = await state(app_service)
    for (media_type, body), name, mode in itertools.product(BODIES.items(), ("t", "new"), MODES):
        headers = {"Content-Type": media_type}
        answer = await table.post(f"/tables/{name}/rows{mode}", content=body, headers=headers)
        is_refused = '"error"' in answer.text or '"rejected":1' in answer.text
        assert answer.status_code in (400, 422) or is_refused, answer.text
        assert await state(app_service) == before, (media_type, name, mode)


async def test_names_of_tables_and_keys(
    table: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    before = await state(app_service)
    for path in ("t%00x", "t%00", "%00t", "main%00.t"):
        answer = await table.post(
            f"/tables/{path}/rows",
            content=b'{"i": 1}',
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert answer.status_code in (400, 422) or '"error"' in answer.text, answer.text
        assert (await table.get(f"/tables/{path}")).status_code in (400, 404, 422)
    for grant in (
        {"tables": [{"name": "t\0x"}]},
        {"tables": [{"name": "t", "schema": "main\0"}]},
        {"tables": [{"name": "t", "filter": "i = 1\0 OR true"}]},
        {"schemas": ["main\0"]},
    ):
        body = {"name": "key", "role": "analyst", **grant}
        assert (await table.post("/keys", json=body)).status_code == 422
    body = {"query": "FROM t", "partition_by": ["i\0"]}
    exported = await table.post("/exports", json=body)
    assert exported.status_code in (202, 400, 422)
    assert await state(app_service) == before


def test_templates(tmp_path: Path) -> None:
    path = tmp_path / "x.sql"
    path.write_text("-- name: x\n-- description: X.\n\nSELECT 1\0 AS a\n")
    with pytest.raises(TemplateError, match=r"x\.sql:4: holds a NUL byte"):
        TemplateSource.read(path, is_shipped=False)


SYNC = """
[source.pg]
dsn_env = "DSN"
[sync.pages]
source = "pg"
{}
target = "pages"
mode = "full"
"""


def test_declared_files(tmp_path: Path) -> None:
    path = tmp_path / "declared.toml"
    for text in (r'table = "pages\u0000x"', r'query = "SELECT 1\u0000 FROM pages"'):
        path.write_text(SYNC.format(text))
        with pytest.raises(SettingsError, match=r"sync\.pages\.(table|query).*NUL byte"):
            read_sync_file(path)
    path.write_text(SYNC.format('table = "pages"\ntypes = {"a\\u0000b" = "DATE"}'))
    with pytest.raises(SettingsError, match="NUL byte"):
        read_sync_file(path)
    path.write_text('[files.daily]\nquery = "SELECT 1 AS a\\u0000, 2 AS b"\n')
    with pytest.raises(SettingsError, match=r"files\.daily\.query.*NUL byte"):
        read_export_file(path)


async def test_options_of_loads(table: httpx2.AsyncClient, app_service: DuckDBService) -> None:
    before = await state(app_service)
    book = xlsx({"S": [["i"], [1]]})
    for option in ("null", "date_format", "types", "thousands", "sheet", "header"):
        for body in (b"i\n1\n", book):
            for text in ("\0", "%d\0", "a,\0=VARCHAR"):
                if option != "thousands" or len(text) == 1:
                    answer = await table.post("/tables/t/rows", content=body, params={option: text})
                    assert_told(answer)
    assert await state(app_service) == before
