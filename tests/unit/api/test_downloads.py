"""Results as files: names that are safe everywhere, whole tables, and statements in addresses."""

from __future__ import annotations

import io
from collections.abc import Callable
from urllib.parse import unquote

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chronoduck.api.downloads import attachment
from chronoduck.assembly import DuckDBService
from chronoduck.principals import Role

FORMATS = {
    "json": "json",
    "ndjson": "ndjson",
    "csv": "csv",
    "arrow": "arrows",
    "parquet": "parquet",
}


@given(st.text())
@example('a"; filename="b')
@example("a\r\nSet-Cookie: x=1")
@example("../../etc/passwd")
@example("\u202egnp.exe")
@example("größe % 1.csv")
@example("\ud800")
@example("")
def test_every_name_is_one_harmless_value(name: str) -> None:
    value = attachment(name)
    assert value.isascii()
    assert value.isprintable()
    assert len(value) < 2_000
    first, _, extended = value.partition("; filename*=")
    plain = first.removeprefix('attachment; filename="')
    assert plain.endswith('"')
    names = [plain[:-1]]
    if extended:
        assert extended.startswith("UTF-8''")
        assert set(extended[7:]) <= set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%"
        )
        names.append(unquote(extended[7:], errors="strict"))
    for each in names:
        assert each.strip(" .") == each
        assert each
        assert not set(each) & set('"\\/:*?<>|%;')
        assert each.isprintable()


@given(
    st.text(alphabet="abcäöü語 ()-_.", min_size=1, max_size=60).filter(lambda n: n.strip(" .") == n)
)
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    value = attachment(name)
    if name.isascii():
        assert value == f'attachment; filename="{name}"'
    else:
        assert unquote(value.partition("UTF-8''")[2]) == name


@pytest.fixture
async def filled(admin: httpx2.AsyncClient) -> httpx2.AsyncClient:
    made = await admin.post(
        "/batch",
        json={
            "queries": [
                "CREATE TABLE \"größe / 1\" AS SELECT range AS n, 't' || range AS t FROM range(20000)",
                "CREATE TABLE small AS SELECT 1 AS a",
            ]
        },
    )
    assert made.status_code == 200, made.text
    return admin


@pytest.mark.parametrize("form", FORMATS)
async def test_a_table_is_streamed_in_every_format(filled: httpx2.AsyncClient, form: str) -> None:
    path = "/tables/%22gr%C3%B6%C3%9Fe%20%2F%201%22"
    answer = await filled.get(path, params={"format": form})
    assert answer.status_code == 200, answer.text
    if form == "parquet":
        assert pq.read_table(io.BytesIO(answer.content)).num_rows == 20_000
    elif form == "arrow":
        assert pa.ipc.open_stream(answer.content).read_all().num_rows == 20_000
    elif form == "json":  # as of a query: 10,000 rows, and says so
        assert (answer.json()["row_count"], answer.json()["truncated"]) == (10_000, True)
    else:
        assert answer.text.count("t19999") == 1
    named = answer.headers["Content-Disposition"]
    assert named.startswith('attachment; filename="gr__e _ 1.')
    assert unquote(named.partition("UTF-8''")[2]) == f"größe _ 1.{FORMATS[form]}"

    head = await filled.head(path, params={"format": form})
    assert (head.status_code, head.content) == (200, b"")
    for name in ("Content-Type", "Content-Disposition"):
        assert head.headers[name] == answer.headers[name]
    assert "Content-Length" not in head.headers


async def test_without_a_format_a_table_is_described_as_ever(filled: httpx2.AsyncClient) -> None:
    answer = await filled.get("/tables/small")
    assert answer.json()["columns"] == [
        {"name": "a", "type": "INTEGER", "nullable": True, "default": None}
    ]
    assert "Content-Disposition" not in answer.headers
    assert (await filled.head("/tables/small")).headers["Content-Type"] == "application/json"


async def test_a_stream_has_the_limits_and_the_scope_of_a_statement(
    filled: httpx2.AsyncClient, log_in: Callable[..., httpx2.AsyncClient]
) -> None:
    wish = {"name": "bob", "role": "analyst", "tables": [{"name": "small", "filter": "a > 1"}]}
    key = (await filled.post("/keys", json=wish)).json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    seen = await filled.get("/tables/small?format=csv", headers=headers)
    assert seen.text.splitlines() == ["a"]
    for method in ("GET", "HEAD"):
        hidden = await filled.request(
            method, "/tables/%22gr%C3%B6%C3%9Fe%20%2F%201%22?format=csv", headers=headers
        )
        assert hidden.status_code == 404
        none = await filled.request(method, "/tables/none?format=csv", headers=headers)
        assert none.status_code == 404
    viewer = log_in("eve", Role.VIEWER)
    assert (await viewer.get("/tables/small?format=csv")).status_code == 403
    cut = await log_in("cut", Role.ANALYST, max_rows=3).get(
        "/tables/%22gr%C3%B6%C3%9Fe%20%2F%201%22?format=ndjson"
    )
    assert cut.headers["X-Result-Truncated"] == "true"
    events = (await filled.get("/audit", params={"event": "statement"})).json()["events"]
    assert {"bob", "cut"} <= {event["name"] for event in events}


async def test_a_format_that_is_none_is_told(filled: httpx2.AsyncClient) -> None:
    for method in ("GET", "HEAD"):
        answer = await filled.request(method, "/tables/small?format=xlsx")
        assert answer.status_code == 422


async def test_a_statement_in_an_address_reads(filled: httpx2.AsyncClient) -> None:
    answer = await filled.get("/query", params={"query": "FROM small"})
    assert answer.json()["data"] == [[1]]
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Content-Disposition" not in answer.headers
    file = await filled.get("/query", params={"query": "SELECT 'é' AS e", "format": "csv"})
    assert file.text.splitlines() == ["e", "é"]
    assert file.headers["Content-Disposition"] == 'attachment; filename="query.csv"'
    short = await filled.get("/query", params={"query": "FROM range(9)", "max_rows": 2})
    assert short.json()["truncated"]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM small",
        "CREATE TABLE other AS SELECT 1",
        "WITH gone AS (DELETE FROM small RETURNING a) SELECT * FROM gone",
        "EXPLAIN ANALYZE DELETE FROM small",
        "SELECT nextval('counter')",
        "BEGIN",
        "CHECKPOINT",
        "SELECT 1; DELETE FROM small",
        "/* SELECT */ DROP TABLE small",
    ],
)
async def test_a_statement_in_an_address_writes_nothing(
    filled: httpx2.AsyncClient, statement: str
) -> None:
    await filled.post("/query", json={"query": "CREATE SEQUENCE counter"})
    answer = await filled.get("/query", params={"query": statement})
    assert answer.status_code in (400, 403, 422), answer.text
    assert (await filled.get("/query", params={"query": "FROM small"})).json()["data"] == [[1]]
    after = await filled.post("/query", json={"query": "SELECT nextval('counter')"})
    assert after.json()["data"] == [[1]]


async def test_pages_of_other_sites_send_no_statements(
    filled: httpx2.AsyncClient, public: httpx2.AsyncClient
) -> None:
    params = {"query": "SELECT 1"}
    for site, status in {
        "cross-site": 403,
        "same-site": 403,
        "same-origin": 200,
        "none": 200,
    }.items():
        answer = await filled.get("/query", params=params, headers={"Sec-Fetch-Site": site})
        assert answer.status_code == status, site
    del public.headers["Authorization"]
    cookie = await public.get("/query", params=params, headers={"Cookie": "token=x; session=y"})
    assert cookie.status_code == 401


async def test_head_answers_what_get_does(
    admin: httpx2.AsyncClient, app_service: DuckDBService, log_in: Callable[..., httpx2.AsyncClient]
) -> None:
    await app_service.execute_query("CREATE TABLE base AS SELECT 1 AS a, 'x' AS b")
    await app_service.execute_query("CREATE VIEW gone AS FROM base")
    await app_service.execute_query("CREATE VIEW ok AS FROM base")
    await app_service.execute_query("CREATE VIEW inside AS FROM duckdb_settings()")
    wish = {"name": "narrow", "role": "analyst", "tables": [{"name": "base", "filter": "b = 'x'"}]}
    key = (await admin.post("/keys", json=wish)).json()["key"]
    narrow = {"Authorization": f"Bearer {key}"}
    assert (await admin.get("/tables/base", headers=narrow)).status_code == 200
    await app_service.execute_query("ALTER TABLE base RENAME b TO c")
    for path in ("base", "gone", "ok", "inside", "none", "main.base", "%22base%22"):
        for query in ("", "?format=csv", "?format=arrow", "?format=nonsense"):
            for headers in ({}, narrow):
                address = f"/tables/{path}{query}"
                got = await admin.get(address, headers=headers)
                head = await admin.head(address, headers=headers)
                assert head.status_code == got.status_code, (address, headers, got.text)
                assert head.content == b""
                if path.endswith(("base", "base%22")) and headers and "nonsense" not in query:
                    assert got.json()["code"] == "row_filter_invalid", address
