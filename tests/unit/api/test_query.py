"""``POST query``, ``batch``, ``explain``: shapes, formats, limits, errors."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


async def ask(client: httpx2.AsyncClient, sql: str, **fields: object) -> httpx2.Response:
    return await client.post("/query", json={"query": sql, **fields})


async def test_an_answer_has_exactly_the_fields_that_clients_read(
    admin: httpx2.AsyncClient,
) -> None:
    response = await ask(admin, "SELECT 42 AS answer, 'x' AS text")
    assert response.status_code == 200
    assert response.headers["x-result-truncated"] == "false"
    body = response.json()
    assert list(body) == [
        "columns",
        "types",
        "query_hash",
        "data",
        "row_count",
        "truncated",
        "execution_time",
        "memory_usage",
    ]
    assert body["columns"] == ["answer", "text"]
    assert body["types"] == ["INTEGER", "VARCHAR"]
    assert body["data"] == [[42, "x"]]
    assert (body["row_count"], body["truncated"]) == (1, False)


async def test_parameters_are_a_list_or_an_object(admin: httpx2.AsyncClient) -> None:
    assert (await ask(admin, "SELECT ? + ?", params=[1, 2])).json()["data"] == [[3]]
    named = await ask(admin, "SELECT $a", params={"a": "'; DROP TABLE x; --"})
    assert named.json()["data"] == [["'; DROP TABLE x; --"]]


@pytest.mark.parametrize(
    ("mode", "rows", "truncated"),
    [("all", 3000, False), ("one", 1, True), ("many", 1000, True), ("none", 0, False)],
)
async def test_fetch_modes(
    admin: httpx2.AsyncClient, mode: str, rows: int, truncated: bool
) -> None:
    body = (await ask(admin, "FROM range(3000)", fetch_mode=mode)).json()
    assert (len(body["data"]), body["row_count"], body["truncated"]) == (rows, rows, truncated)


async def test_truncation_shows_in_body_and_header(admin: httpx2.AsyncClient) -> None:
    cut = await ask(admin, "FROM range(10)", max_rows=9)
    assert cut.headers["x-result-truncated"] == "true"
    assert cut.json()["truncated"] is True
    whole = await ask(admin, "FROM range(10)", max_rows=10)
    assert whole.headers["x-result-truncated"] == "false"
    assert whole.json()["truncated"] is False


async def test_json_is_cut_at_ten_thousand_rows_unless_asked(admin: httpx2.AsyncClient) -> None:
    body = (await ask(admin, "FROM range(20000)")).json()
    assert (body["row_count"], body["truncated"]) == (10_000, True)


@pytest.mark.parametrize("rows", [0, 1, 7, 300_000])
async def test_every_format_carries_the_same_rows(admin: httpx2.AsyncClient, rows: int) -> None:
    sql = f"SELECT range AS n, 'v' || range AS text FROM range({rows})"
    expected = [(n, f"v{n}") for n in range(rows)]

    async def fetch(name: str) -> bytes:
        response = await admin.post(
            "/query", params={"format": name}, json={"query": sql, "max_rows": 1_000_000}
        )
        assert response.status_code == 200
        return response.content

    document = json.loads(await fetch("json"))
    assert [tuple(row) for row in document["data"]] == expected
    lines = [json.loads(line) for line in (await fetch("ndjson")).splitlines()]
    assert lines[-1]["_chronoduck"]["complete"] is True
    assert lines[-1]["_chronoduck"]["row_count"] == rows
    assert [(line["n"], line["text"]) for line in lines[:-1]] == expected
    table = list(csv.reader(io.StringIO((await fetch("csv")).decode())))
    assert table[0] == ["n", "text"]
    assert [(int(n), text) for n, text in table[1:]] == expected
    arrow = pa.ipc.open_stream(await fetch("arrow")).read_all()
    assert list(zip(*arrow.to_pydict().values(), strict=True)) == expected
    parquet = pq.read_table(io.BytesIO(await fetch("parquet")))
    assert list(zip(*parquet.to_pydict().values(), strict=True)) == expected


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("text/html, application/json;q=0.9", "application/json"),
        ("text/csv;q=0.5, application/x-ndjson", "application/x-ndjson"),
        ("text/*", "text/csv; charset=utf-8; header=present"),
        ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
    ],
)
async def test_accept_chooses_the_format(
    admin: httpx2.AsyncClient, accept: str, media_type: str
) -> None:
    response = await admin.post(
        "/query", headers={"Accept": accept}, json={"query": "SELECT 1 AS a"}
    )
    assert response.headers["content-type"] == media_type
    assert "Accept" in response.headers["vary"]


async def test_what_is_not_on_offer_is_406_with_the_list(admin: httpx2.AsyncClient) -> None:
    response = await admin.post(
        "/query", headers={"Accept": "image/png"}, json={"query": "SELECT 1"}
    )
    assert response.status_code == 406
    assert "text/csv" in response.json()["hint"]


@pytest.mark.parametrize("name", ["csv", "parquet"])
async def test_a_format_without_a_flag_tells_truncation_in_the_header(
    admin: httpx2.AsyncClient, name: str
) -> None:
    response = await admin.post(
        "/query",
        params={"format": name},
        json={"query": "SELECT range, repeat('x', 50) FROM range(300000)", "max_rows": 200_000},
    )
    assert response.headers["x-result-truncated"] == "true"
    assert int(response.headers["content-length"]) == len(response.content)


async def test_numbers_beyond_doubles_are_strings_when_asked(admin: httpx2.AsyncClient) -> None:
    sql = "SELECT 9007199254740993 AS big, 7 AS small, 1.50::DECIMAL(5,2) AS price"
    exact = await ask(admin, sql)
    assert b"9007199254740993,7,1.50" in exact.content
    safe = (await ask(admin, sql, json_numbers="safe")).json()
    assert safe["data"] == [["9007199254740993", 7, "1.50"]]


async def test_bad_sql_is_a_problem_with_its_position(admin: httpx2.AsyncClient) -> None:
    response = await ask(admin, "SELECT\n  nope FROM range(1) t(a)")
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["code"] == "query_error"
    assert problem["position"] == {"line": 2, "column": 3}
    assert problem["category"] == "binder"
    assert problem["request_id"] == response.headers["x-request-id"]


async def test_a_statement_past_its_deadline_is_504(admin: httpx2.AsyncClient) -> None:
    response = await ask(
        admin,
        "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b",
        timeout_seconds=0.2,
    )
    assert response.status_code == 504
    assert response.json()["code"] == "statement_timeout"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b'{"query": 1}',
        b'{"query": "SELECT 1", "timeout": 5}',
        b'{"query": "SELECT 1", "max_rows": 0}',
        b'{"query": "SELECT 1", "timeout_seconds": -1}',
        b'{"query": "SELECT 1", "timeout_seconds": 1000}',
        b'{"query": "SELECT 1", "fetch_mode": "some"}',
        b'{"query": "SELECT 1", "params": "x"}',
        b"\xff\xfe",
    ],
)
async def test_a_request_that_cannot_be_understood_is_422(
    admin: httpx2.AsyncClient, body: bytes
) -> None:
    response = await admin.post("/query", content=body)
    assert response.status_code == 422
    assert response.json()["code"] == "invalid_request"


async def test_a_huge_body_is_413(admin: httpx2.AsyncClient) -> None:
    response = await admin.post("/query", content=b" " * 17_000_000)
    assert response.status_code == 413
    assert response.json()["code"] == "body_too_large"


async def test_server_files_are_out_of_reach(admin: httpx2.AsyncClient) -> None:
    for sql in ("SELECT * FROM read_text('/etc/passwd')", "COPY (SELECT 1) TO '/tmp/x.csv'"):
        response = await ask(admin, sql)
        assert response.status_code == 403
        assert b"root:" not in response.content
        assert b"/etc" not in response.content


async def test_a_batch_answers_each_result(admin: httpx2.AsyncClient) -> None:
    response = await admin.post(
        "/batch",
        json={
            "queries": [
                "CREATE TABLE t (a INTEGER)",
                {"query": "INSERT INTO t VALUES (?), (?)", "params": [1, 2]},
                "FROM t ORDER BY a",
            ]
        },
    )
    body = response.json()
    assert (body["total_queries"], body["success_count"]) == (3, 3)
    assert body["results"][2]["data"] == [[1], [2]]
    assert body["total_execution_time"] > 0


async def test_a_failed_batch_names_the_statement_and_keeps_nothing(
    admin: httpx2.AsyncClient,
) -> None:
    await ask(admin, "CREATE TABLE t (a INTEGER)")
    response = await admin.post(
        "/batch", json={"queries": ["INSERT INTO t VALUES (1)", "INSERT INTO t VALUES ('x')"]}
    )
    problem = response.json()
    assert response.status_code == 400
    assert (problem["statement_index"], problem["rolled_back"]) == (1, True)
    assert "INSERT INTO t VALUES ('x')" in problem["detail"]
    assert (await ask(admin, "SELECT count(*) FROM t")).json()["data"] == [[0]]


@pytest.mark.parametrize("analyze", [False, True])
@pytest.mark.parametrize("form", ["text", "json"])
async def test_explain_answers_a_plan(admin: httpx2.AsyncClient, form: str, analyze: bool) -> None:
    response = await admin.post(
        "/explain", json={"query": "FROM range(10)", "format": form, "analyze": analyze}
    )
    body = response.json()
    assert response.status_code == 200, body
    assert "RANGE" in json.dumps(body["plan"]).upper()
    assert isinstance(body["plan"], str) is (form == "text")


async def test_explain_never_runs_a_write(admin: httpx2.AsyncClient) -> None:
    await ask(admin, "CREATE TABLE t AS SELECT 1 AS a")
    plan = await admin.post("/explain", json={"query": "DELETE FROM t"})
    assert plan.status_code == 200
    refused = await admin.post("/explain", json={"query": "DELETE FROM t", "analyze": True})
    assert refused.status_code == 403
    for sneaky in ("SELECT 1; DELETE FROM t", "EXPLAIN ANALYZE DELETE FROM t"):
        response = await admin.post("/explain", json={"query": sneaky, "analyze": True})
        assert response.status_code in (400, 403)
    assert (await ask(admin, "SELECT count(*) FROM t")).json()["data"] == [[1]]


async def test_the_breaker_ignores_users_mistakes(
    admin: httpx2.AsyncClient, tmp_path: Path
) -> None:
    for _ in range(50):
        assert (await ask(admin, "SELEC 1")).status_code == 400
    health = (await admin.get("/health")).json()
    assert health["circuit_breaker"]["state"] == "closed"
    assert health["circuit_breaker"]["failure_count"] == 0
