"""One principal never holds the last connection or the last worker, whichever route it uses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.principals import LOCAL, Role
from chronoduck.settings import ExportSettings, Settings
from tests.patience import PATIENCE_SECONDS

LogIn = Callable[..., httpx2.AsyncClient]
ENDLESS = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
WRITES = "INSERT INTO t SELECT a.range FROM range(100000) a, range(1000000) b WHERE a.range * b.range < 0"
ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "query": ("/query", {"query": ENDLESS}),
    "query as CSV": ("/query?format=csv", {"query": ENDLESS}),
    "query as Parquet": ("/query?format=parquet", {"query": ENDLESS, "max_rows": 10}),
    "query as NDJSON": ("/query?format=ndjson", {"query": ENDLESS}),
    "write": ("/query", {"query": WRITES}),
    "batch": ("/batch", {"queries": ["SELECT 1", ENDLESS]}),
    "explain": ("/explain", {"query": ENDLESS, "analyze": True}),
    "jobs": ("/jobs", {"query": ENDLESS}),
    "exports": ("/exports", {"query": ENDLESS, "format": "csv"}),
    "partitions": (
        "/exports",
        {"query": f"SELECT 1 AS p, x FROM ({ENDLESS}) u(x)", "partition_by": ["p"]},
    ),
    "template": ("/templates/slow", {}),  # GET: it has no body
}
TIMES = 6


@pytest.fixture
def settings(make_settings: Callable[..., Settings], tmp_path: Path) -> Settings:
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "slow.sql").write_text(f"-- name: slow\n-- description: Slow.\n\n{ENDLESS}\n")
    return make_settings(
        templates_directory=templates,
        export=ExportSettings(url=str(tmp_path / "exports")),
        worker_threads=2,
        max_connections=4,
    )


@pytest.mark.parametrize("route", ROUTES)
async def test_whoever_sends_more_than_there_is_leaves_some_to_others(
    admin: httpx2.AsyncClient, app_service: DuckDBService, log_in: LogIn, route: str
) -> None:
    """Fails when a route runs statements as the service, or without a seat of its principal's."""
    await admin.post("/query", json={"query": "CREATE TABLE t (n BIGINT)"})
    eve, bob = log_in("eve", Role.WRITER), log_in("bob", Role.WRITER)
    parts = await app_service.parts()
    admission, pool = parts.access.admission, parts.access.pool
    path, body = ROUTES[route]

    def send() -> Coroutine[Any, Any, httpx2.Response]:
        return eve.post(path, json=body, timeout=300) if body else eve.get(path, timeout=300)

    sent = [asyncio.create_task(send()) for _ in range(TIMES)]
    party = eve.headers["X-Key-Id"]

    def places(name: str) -> tuple[int, int]:
        found = admission._parties.get(name)
        return (0, 0) if found is None else (found.places, found.seats)

    for _ in range(20_000):
        if places(party)[0]:
            break
        assert not all(task.done() and task.result().status_code >= 400 for task in sent), [
            task.result().text for task in sent
        ]
        await asyncio.sleep(0.01)
    for number in range(3):
        for sql in ("SELECT 42", f"INSERT INTO t VALUES ({number})"):
            answer = await bob.post("/query", json={"query": sql}, timeout=300)
            assert answer.status_code == 200, (route, answer.text)
        assert places(party)[0] == 1  # of two workers, and it has not ended meanwhile
        assert places(party)[1] <= 2  # of four connections
        assert pool.in_use <= 3
        assert places(LOCAL.id)[1] == 0, "it runs as the service itself"
    while places(party)[0] or not all(task.done() for task in sent):
        for each in (await admin.get("/queries")).json():
            await admin.delete(f"/queries/{each['id']}")
        await asyncio.sleep(0.02)


async def test_uploads_that_take_long_to_be_read_leave_a_thread_to_others(
    admin: httpx2.AsyncClient,
    app_service: DuckDBService,
    log_in: LogIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fails when files are read in the few threads that everything short needs."""
    pq.write_table(pa.table({"n": [1, 2, 3]}), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    parts = await app_service.parts()
    may_end = threading.Event()
    began = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()
    check = parts.loader._proof.check

    def check_slowly(path: Path, name: str) -> None:
        if "evil" in name:
            loop.call_soon_threadsafe(began.release)
            may_end.wait(PATIENCE_SECONDS)
        check(path, name)

    monkeypatch.setattr(parts.loader._proof, "check", check_slowly)
    eve, bob = log_in("eve", Role.WRITER), log_in("bob", Role.WRITER)

    async def load(client: httpx2.AsyncClient, name: str) -> str:
        answer = await client.post(
            f"/tables/{name}/rows?source={name}.parquet", content=content, timeout=300
        )
        return answer.text

    try:
        sent = [asyncio.create_task(load(eve, f"evil{number}")) for number in range(12)]
        await began.acquire()
        assert '"event":"done"' in await load(bob, "good")
        answer = await bob.post("/query", json={"query": "SELECT count(*) FROM good"})
        assert answer.json()["data"] == [[3]]
        assert not any(task.done() for task in sent)
    finally:
        may_end.set()
    assert all('"event":"done"' in text for text in await asyncio.gather(*sent))
