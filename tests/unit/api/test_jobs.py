"""Statements as jobs: begun, followed, read in every format and page, ended, kept from others."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.principals import Role
from chronoduck.settings import JobSettings, Settings

LogIn = Callable[..., httpx2.AsyncClient]
ENDLESS = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range + b.range = -1"


@pytest.fixture
def ann(log_in: LogIn) -> httpx2.AsyncClient:
    return log_in("ann", Role.ANALYST)


async def start(client: httpx2.AsyncClient, sql: str, **fields: Any) -> str:
    answer = await client.post("/jobs", json={"query": sql, **fields})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"].endswith(f"/jobs/{answer.json()['id']}")
    return str(answer.json()["id"])


async def ended(client: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    for _ in range(24_000):
        job: dict[str, Any] = (await client.get(f"/jobs/{job_id}")).json()
        if job["state"] != "running":
            return job
        await asyncio.sleep(0.01)
    raise AssertionError(job)


async def test_a_result_is_kept_and_read_in_every_format(ann: httpx2.AsyncClient) -> None:
    sql = "SELECT range AS n, 'text ' || range AS t FROM range(1000) WHERE range >= $least"
    job = await ended(ann, await start(ann, sql, params={"least": 100}))
    assert job["state"] == "succeeded"
    assert job["error"] is None
    assert job["result"]["row_count"] == 900
    assert job["result"]["truncated"] is False
    assert job["result"]["columns"] == ["n", "t"]
    assert job["result"]["types"] == ["BIGINT", "VARCHAR"]
    assert (job["progress"]["fraction"], job["progress"]["eta_seconds"]) == (1.0, 0.0)
    assert job["expires_at"] > job["ended_at"]
    path = f"/jobs/{job['id']}/result"
    whole = (await ann.get(path)).json()
    assert whole["row_count"] == 900
    assert whole["data"][0] == [100, "text 100"]
    arrow = (await ann.get(path, params={"format": "arrow"})).content
    assert pa.ipc.open_stream(arrow).read_all().num_rows == 900
    parquet = (await ann.get(path, params={"format": "parquet"})).content
    assert pq.read_table(io.BytesIO(parquet))["n"][899].as_py() == 999
    lines = (await ann.get(path, params={"format": "csv"})).text.splitlines()
    assert lines[:2] == ["n,t", "100,text 100"]


async def test_pages_of_a_result(ann: httpx2.AsyncClient) -> None:
    job_id = await start(ann, "SELECT range AS n FROM range(25000) ORDER BY n DESC")
    await ended(ann, job_id)
    read: list[int] = []
    for offset in range(0, 30000, 7000):
        page = await ann.get(f"/jobs/{job_id}/result", params={"offset": offset, "limit": 7000})
        assert page.json()["truncated"] is False
        read += [row[0] for row in page.json()["data"]]
    assert read == list(range(24999, -1, -1))
    assert (await ann.get(f"/jobs/{job_id}/result")).json()["truncated"] is True
    assert (await ann.get(f"/jobs/{job_id}/result?offset=-1")).status_code == 422


async def test_progress_is_told_while_it_runs_and_it_can_be_ended(ann: httpx2.AsyncClient) -> None:
    job_id = await start(ann, ENDLESS)
    unready = await ann.get(f"/jobs/{job_id}/result")
    assert (unready.status_code, unready.json()["code"]) == (409, "job_has_no_result")
    fractions = set()
    for _ in range(12_000):
        progress = (await ann.get(f"/jobs/{job_id}")).json()["progress"]
        assert set(progress) == {"step", "done", "total", "fraction", "eta_seconds"}
        fractions.add(progress["fraction"])
        if progress["fraction"]:
            break
        await asyncio.sleep(0.02)
    assert all(each is None or 0 <= each <= 1 for each in fractions)
    assert (await ann.get("/queries")).json()[0]["state"] == "running"
    assert (await ann.delete(f"/jobs/{job_id}")).json()["state"] == "cancelled"
    assert (await ended(ann, job_id))["state"] == "cancelled"
    for _ in range(12_000):
        if not (await ann.get("/queries")).json():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the statement runs on")


async def test_an_ended_job_is_forgotten_with_its_result(
    ann: httpx2.AsyncClient, settings: Settings
) -> None:
    job_id = await start(ann, "SELECT 1")
    await ended(ann, job_id)
    assert {path.name for path in settings.jobs_path.iterdir()} == {
        f"{job_id}.json",
        f"{job_id}.parquet",
    }
    assert (await ann.delete(f"/jobs/{job_id}")).json()["state"] == "succeeded"
    assert (await ann.get(f"/jobs/{job_id}")).status_code == 404
    for _ in range(12_000):
        if not list(settings.jobs_path.iterdir()):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("its files are still there")


async def test_a_wrong_or_refused_statement_makes_no_job(ann: httpx2.AsyncClient) -> None:
    for sql, status, code in [
        ("SELEC 1", 400, "query_error"),
        ("DROP TABLE x", 403, "statement_refused"),
        ("FROM read_csv('/etc/passwd')", 403, "statement_refused"),
    ]:
        answer = await ann.post("/jobs", json={"query": sql})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await ann.get("/jobs")).json() == []


async def test_what_fails_while_it_runs_is_told_by_the_job(ann: httpx2.AsyncClient) -> None:
    job = await ended(ann, await start(ann, "SELECT error('no' || max(range)) FROM range(100)"))
    assert job["state"] == "failed"
    assert job["error"]["code"] == "query_error"
    assert "no99" in job["error"]["detail"]
    job = await ended(ann, await start(ann, ENDLESS, timeout_seconds=0.2))
    assert (job["state"], job["error"]["code"]) == ("failed", "statement_timeout")
    too_long = await ended(ann, await start(ann, "SELECT 1", timeout_seconds=3601))
    assert "DUCKDB_JOB_TIMEOUT" in too_long["error"]["hint"]


async def test_jobs_are_ones_own(
    ann: httpx2.AsyncClient, log_in: LogIn, admin: httpx2.AsyncClient
) -> None:
    bob = log_in("bob", Role.WRITER)
    job_id = await start(ann, "SELECT 'secret' AS s")
    await ended(ann, job_id)
    for call in ("get", "delete"):
        answer = await getattr(bob, call)(f"/jobs/{job_id}")
        assert answer.status_code == 404
    for path in ("result", "events"):
        assert (await bob.get(f"/jobs/{job_id}/{path}")).status_code == 404
    assert (await bob.get("/jobs")).json() == []
    assert [job["id"] for job in (await ann.get("/jobs")).json()] == [job_id]
    assert [job["id"] for job in (await admin.get("/jobs")).json()] == [job_id]
    assert (await admin.get(f"/jobs/{job_id}/result")).json()["data"] == [["secret"]]


async def test_many_jobs_of_one_run_at_the_same_time(ann: httpx2.AsyncClient) -> None:
    ids = [await start(ann, f"SELECT {number} AS n") for number in range(20)]
    for number, job_id in enumerate(ids):
        assert (await ended(ann, job_id))["state"] == "succeeded"
        result = (await ann.get(f"/jobs/{job_id}/result")).json()
        assert result["data"] == [[number]]


async def test_a_job_that_writes(log_in: LogIn) -> None:
    writer = log_in("wil", Role.WRITER)
    await ended(writer, await start(writer, "CREATE TABLE t AS FROM range(5)"))
    job = await ended(writer, await start(writer, "INSERT INTO t FROM range(7)"))
    assert (job["state"], job["result"]["kind"]) == ("succeeded", "insert")
    assert (await writer.get(f"/jobs/{job['id']}/result")).json()["data"] == [[7]]
    counted = await writer.post("/query", json={"query": "SELECT count(*) FROM t"})
    assert counted.json()["data"] == [[12]]


async def test_events_tell_until_the_end(ann: httpx2.AsyncClient) -> None:
    job_id = await start(ann, "SELECT sum(sqrt(range)) FROM range(50000000)")
    answer = await ann.get(f"/jobs/{job_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [block.split("\n") for block in answer.text.strip().split("\n\n")]
    names = [lines[0] for lines in events if not lines[0].startswith(":")]
    assert names[-1] == "event: end"
    assert set(names[:-1]) <= {"event: progress"}
    last = json.loads(events[-1][1].removeprefix("data: "))
    assert (last["id"], last["state"]) == (job_id, "succeeded")


@pytest.fixture
async def narrow(make_settings: Callable[..., Settings]) -> AsyncIterator[httpx2.AsyncClient]:
    """A service with room for 100 KB of results."""
    settings = make_settings(job=JobSettings(space=100_000))
    app = create_app(DuckDBService(settings))
    async with app.router.lifespan_context(app):
        token = settings.token_path.read_text().strip()
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app),
            base_url="http://test/api/v1/duckdb",
            headers={"Authorization": f"Bearer {token}"},
        ) as client:
            yield client


async def test_results_take_no_more_space_than_they_may(narrow: httpx2.AsyncClient) -> None:
    large = "SELECT hash(range) AS h FROM range(100000)"
    job = await ended(narrow, await start(narrow, large))
    assert (job["state"], job["error"]["code"]) == ("failed", "job_space_full")
    small = "SELECT hash(range) AS h FROM range(6000)"
    kept = []
    for _ in range(10):
        job = await ended(narrow, await start(narrow, small))
        if job["state"] == "failed":
            assert job["error"]["code"] == "job_space_full"
            break
        kept.append(job["id"])
    assert 0 < len(kept) < 10
    for job_id in kept:
        await narrow.delete(f"/jobs/{job_id}")
    await asyncio.sleep(0.1)
    assert (await ended(narrow, await start(narrow, small)))["state"] == "succeeded"
