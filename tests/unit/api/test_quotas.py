"""Quotas over HTTP: 429 and its headers, capped results in every format, ``GET me``, ``GET usage``."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.auth.key_file import KeyFile
from chronoduck.auth.keys import KeyWish
from chronoduck.principals import Principal, Role
from chronoduck.service.records import Caller
from chronoduck.settings import Settings

LogIn = Callable[..., httpx2.AsyncClient]
FORMATS = ["json", "ndjson", "csv", "arrow", "parquet"]


async def ask(client: httpx2.AsyncClient, sql: str, **fields: object) -> httpx2.Response:
    return await client.post("/query", json={"query": sql, **fields})


async def test_the_request_beyond_the_limit_gets_429_and_when_to_come_back(log_in: LogIn) -> None:
    ann = log_in("ann", requests_per_minute=3)
    for left in (2, 1, 0):
        answer = await ask(ann, "SELECT 1")
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-remaining"] == str(left)
    refused = await ask(ann, "SELECT 1")
    assert refused.status_code == 429
    problem = refused.json()
    assert problem["code"] == "quota_exceeded"
    assert problem["retryable"] is True
    assert problem["detail"].startswith("ann sent 3 requests within a minute")
    assert "GET me" in problem["hint"]
    assert refused.headers["content-type"] == "application/problem+json"
    assert 55 < int(refused.headers["retry-after"]) <= 60
    left = refused.headers["ratelimit"].split(", ")
    assert left[0] == f'"requests";r=0;t={refused.headers["retry-after"]}'
    assert (await ann.get("/tables")).status_code == 429
    assert (await ask(log_in("bob", requests_per_minute=3), "SELECT 1")).status_code == 200


async def test_every_authenticated_response_says_what_is_left(
    log_in: LogIn, app_service: DuckDBService
) -> None:
    ann = log_in(
        "ann", requests_per_minute=100, engine_seconds_per_hour=60, concurrent_statements=4
    )
    answers = [
        await ask(ann, "SELECT 1"),
        await ask(ann, "SELECT nonsense"),
        await ann.post("/query", content=b"no json"),
        await ann.get("/tables"),
        await ann.get("/tables/none"),
        await ann.post("/batch", json={"queries": ["SELECT 1"]}),
        await ann.get("/me"),
        await ask(ann, "FROM range(3000000)", max_rows=3_000_000),
    ]
    assert [each.status_code for each in answers] == [200, 400, 422, 200, 404, 200, 200, 200]
    policy = (
        '"requests";q=100;w=60, "engine_seconds";q=60;qu="engine-seconds";w=3600, '
        '"concurrent_statements";q=4;qu="concurrent-requests"'
    )
    left = re.compile(
        r'"requests";r=\d+;t=\d+, "engine_seconds";r=\d+;t=\d+, "concurrent_statements";r=\d+'
    )
    for answer in answers:
        assert answer.headers["ratelimit-policy"] == policy
        assert left.fullmatch(answer.headers["ratelimit"])
        assert answer.headers["x-ratelimit-limit"] == "100"
        assert 0 <= int(answer.headers["x-ratelimit-reset"]) - time.time() <= 61
    # GET me counts for nothing.
    remaining = [int(each.headers["x-ratelimit-remaining"]) for each in answers]
    assert remaining == [99, 98, 97, 96, 95, 94, 94, 93]


async def test_who_has_no_limit_gets_no_such_headers(
    log_in: LogIn, admin: httpx2.AsyncClient
) -> None:
    for client in (admin, log_in("will", Role.WRITER), log_in("ann", Role.ADMIN)):
        answer = await ask(client, "SELECT 1")
        assert answer.status_code == 200
        assert not [name for name in answer.headers if "ratelimit" in name]
    assert not [name for name in (await admin.get("/health")).headers if "ratelimit" in name]


async def test_engine_time_used_up_is_429_before_the_engine_is_touched(log_in: LogIn) -> None:
    ann = log_in("ann", engine_seconds_per_hour=0.2)
    endless = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
    cut = await ask(ann, endless)
    assert (cut.status_code, cut.json()["code"]) == (429, "quota_exceeded")
    assert 3500 < int(cut.headers["retry-after"]) <= 3610
    refused = await ask(ann, "SELECT 1")
    assert refused.status_code == 429
    assert "r=0;t=" in refused.headers["ratelimit"]


async def test_a_batch_and_a_limit_of_one_statement(log_in: LogIn) -> None:
    ann = log_in("ann", max_scan_rows=100, max_rows=5)
    refused = await ask(ann, "FROM range(1000)")
    assert (refused.status_code, refused.json()["code"]) == (422, "limit_exceeded")
    assert "1,000 rows" in refused.json()["detail"]
    assert "100 at once" in refused.json()["detail"]
    assert refused.json()["retryable"] is False
    plan = await ann.post("/explain", json={"query": "FROM range(1000)"})
    assert plan.status_code == 200
    measured = await ann.post("/explain", json={"query": "FROM range(1000)", "analyze": True})
    assert (measured.status_code, measured.json()["code"]) == (422, "limit_exceeded")
    measured = await ann.post("/explain", json={"query": "FROM range(10)", "analyze": True})
    assert measured.status_code == 200
    batch = await ann.post("/batch", json={"queries": ["FROM range(10)"]})
    assert batch.json()["results"][0]["row_count"] == 5
    assert batch.json()["results"][0]["truncated"] is True


def rows_and_truncation(name: str, answer: httpx2.Response) -> tuple[int, bool]:
    """Return what the body itself says, where it can, else the header."""
    body = answer.content
    told = answer.headers["x-result-truncated"]
    if name == "json":
        document = json.loads(body)
        assert len(document["data"]) == document["row_count"]
        return document["row_count"], document["truncated"]
    if name == "ndjson":
        *lines, last = body.splitlines()
        end = json.loads(last)["_chronoduck"]
        assert end["complete"] is True
        assert end["row_count"] == len(lines)
        return len(lines), end["truncated"]
    if name == "csv":
        assert told in ("true", "false"), "nothing in the body can tell"
        return len(list(csv.reader(io.StringIO(body.decode())))) - 1, told == "true"
    if name == "parquet":
        file = pq.ParquetFile(io.BytesIO(body))
        metadata = file.metadata.metadata
        assert int(metadata[b"chronoduck.row_count"]) == file.metadata.num_rows
        return file.metadata.num_rows, metadata[b"chronoduck.truncated"] == b"true"
    rows = 0
    with pa.ipc.open_stream(body) as reader:
        while True:
            try:
                batch, metadata = reader.read_next_batch_with_custom_metadata()
            except StopIteration:
                break
            rows += batch.num_rows
            if metadata is not None:
                assert metadata[b"chronoduck.complete"] == b"true"
                truncated = metadata[b"chronoduck.truncated"] == b"true"
    return rows, truncated


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("rows", "limit"), [(300_001, 300_000), (300_000, 300_000), (5, 10)])
async def test_rows_are_capped_in_every_format_and_it_shows(
    log_in: LogIn, name: str, rows: int, limit: int
) -> None:
    ann = log_in("ann", max_rows=limit)
    answer = await ann.post(
        f"/query?format={name}",
        json={"query": f"SELECT range AS n, 'v' || range AS t FROM range({rows})"}
        | ({"max_rows": 10**9} if name == "json" else {}),
    )
    assert answer.status_code == 200
    assert rows_and_truncation(name, answer) == (min(rows, limit), rows > limit)
    if answer.headers["x-result-truncated"] != "pending":
        assert answer.headers["x-result-truncated"] == str(rows > limit).lower()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("limit", [300, 20_000, 1_000_000, 6_000_000])
async def test_bytes_are_capped_in_every_format_and_it_shows(
    log_in: LogIn, name: str, limit: int
) -> None:
    ann = log_in("ann", max_result_bytes=limit)
    # Rows of very different sizes: the largest is 200 times the smallest.
    sql = "SELECT range AS n, repeat('v', (range * range % 200)::INT) AS t FROM range(100000)"
    answer = await ann.post(f"/query?format={name}", json={"query": sql, "max_rows": 10**9})
    assert answer.status_code == 200
    rows, truncated = rows_and_truncation(name, answer)
    assert truncated
    assert len(answer.content) <= limit + (4000 if name == "parquet" else 600)
    if name != "parquet":  # compressed
        assert len(answer.content) > 0.9 * limit - 600
    assert rows < 100_000


@pytest.mark.parametrize("name", FORMATS)
async def test_a_result_below_the_limit_of_bytes_is_whole(log_in: LogIn, name: str) -> None:
    ann = log_in("ann", max_result_bytes=10_000_000)
    sql = "SELECT range AS n FROM range(200000)"
    answer = await ann.post(f"/query?format={name}", json={"query": sql, "max_rows": 10**9})
    assert rows_and_truncation(name, answer) == (200_000, False)
    free = log_in("free")
    plain = await free.post(f"/query?format={name}", json={"query": sql, "max_rows": 10**9})
    assert rows_and_truncation(name, plain) == (200_000, False)


@pytest.mark.parametrize("name", FORMATS)
async def test_a_single_row_beyond_the_limit_leaves_none(log_in: LogIn, name: str) -> None:
    ann = log_in("ann", max_result_bytes=10_000)
    sql = "SELECT repeat('x', 100000) AS t"
    answer = await ann.post(f"/query?format={name}", json={"query": sql})
    assert rows_and_truncation(name, answer) == (0, True)


async def test_me_shows_limits_use_and_what_runs(log_in: LogIn, app_service: DuckDBService) -> None:
    ann = log_in("ann", requests_per_minute=2, engine_seconds_per_hour=100)
    await ask(ann, "SELECT 1")
    stream = app_service.stream("FROM range(1000000)")
    await anext(stream)
    await ask(ann, "SELECT 1")
    assert (await ask(ann, "SELECT 1")).status_code == 429
    me = (await ann.get("/me")).json()
    assert (me["id"], me["name"], me["role"]) == (ann.headers["X-Key-Id"], "ann", "analyst")
    assert me["limits"]["requests_per_minute"] == 2
    assert me["limits"]["max_rows"] is None
    # Of the role, where the principal has none of its own.
    assert me["limits"]["concurrent_statements"] == 32
    requests = me["usage"]["requests"]
    assert (requests["used"], requests["limit"], requests["remaining"]) == (2, 2, 0)
    assert 55 < requests["resets_in_seconds"] <= requests["window_seconds"] == 60
    engine = me["usage"]["engine_seconds"]
    assert 0 < engine["used"] < 100
    assert engine["used"] + engine["remaining"] == pytest.approx(100)
    assert me["since_start"]["refused"] == 1
    assert me["running"] == [], "what others run is not shown"
    await stream.aclose()


async def test_me_lists_ones_own_running_statements(
    log_in: LogIn, app_service: DuckDBService
) -> None:
    ann = log_in("ann")
    herself = Caller("ann", principal=Principal("ann", Role.ANALYST, ann.headers["X-Key-Id"]))
    stream = app_service.stream("FROM range(1000000)", caller=herself)
    await anext(stream)
    me = (await ann.get("/me")).json()
    assert [each["query"] for each in me["running"]] == ["FROM range(1000000)"]
    assert me["usage"]["concurrent_statements"]["used"] == 1
    await stream.aclose()


async def test_usage_is_for_admins_and_lists_everybody(
    log_in: LogIn, admin: httpx2.AsyncClient
) -> None:
    ann = log_in("ann")
    await ask(ann, "SELECT 1")
    refused = await ann.get("/usage")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    listed = (await admin.get("/usage")).json()
    assert [each["id"] for each in listed] == ["admin", ann.headers["X-Key-Id"]]
    assert listed[1]["since_start"]["requests"] == 2
    assert listed[1]["since_start"]["statements"] == 1


async def test_me_needs_a_token(public: httpx2.AsyncClient) -> None:
    for path in ("/me", "/usage"):
        assert (await public.get(path)).status_code == 401


async def test_who_holds_space_or_used_something_is_listed_after_a_restart(
    settings: Settings,
) -> None:
    def key(name: str) -> tuple[str, dict[str, str]]:
        made, token = KeyFile(settings.keys_path).add(KeyWish(name, Role.ANALYST), time.time())
        return made.principal().id, {"Authorization": f"Bearer {token}"}

    admins: dict[str, str] = {}

    @asynccontextmanager
    async def serve() -> AsyncIterator[httpx2.AsyncClient]:
        app = create_app(DuckDBService(settings))
        async with app.router.lifespan_context(app):
            admins["Authorization"] = f"Bearer {settings.token_path.read_text().strip()}"
            transport = httpx2.ASGITransport(app=app)
            url = "http://test/api/v1/duckdb"
            async with httpx2.AsyncClient(transport=transport, base_url=url) as client:
                yield client

    async with serve() as client:
        (ann, anns), (bob, bobs), (gone, gones) = map(key, ("ann", "bob", "gone"))
        for headers in (anns, gones):
            made = await client.post(
                "/jobs", json={"query": "SELECT uuid() FROM range(1000)"}, headers=headers
            )
            while (job := await client.get(f"/jobs/{made.json()['id']}", headers=headers)).json()[
                "state"
            ] == "running":
                await asyncio.sleep(0.02)
            assert job.json()["state"] == "succeeded"
        await client.post("/query", json={"query": "SELECT 1"}, headers=bobs)
        before = {each["id"]: each for each in (await client.get("/usage", headers=admins)).json()}
    KeyFile(settings.keys_path).remove("gone")
    async with serve() as client:
        answer = (await client.get("/usage", headers=admins)).json()
        after = {each["id"]: each for each in answer}
        assert answer[0]["id"] == "admin"
        assert len(after) == len(answer)
        for who, name, role in ((ann, "ann", "analyst"), (gone, gone, "unknown")):
            assert (after[who]["name"], after[who]["role"]) == (name, role)
            held = after[who]["usage"]["results_bytes"]["used"]
            assert held == before[who]["usage"]["results_bytes"]["used"] > 0
        for who in (ann, bob, gone):
            used = [each[who]["usage"]["requests"]["used"] for each in (before, after)]
            assert used[0] == used[1] > 0
        assert (await client.get("/me", headers=bobs)).json()["usage"]["requests"]["used"] > 0
        again = (await client.get("/usage", headers=admins)).json()
        assert [each["id"] for each in again].count(bob) == 1
