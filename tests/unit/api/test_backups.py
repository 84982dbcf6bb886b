"""Backups and jobs over HTTP: begun, followed, verified, refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.assembly.authentication import open_authenticator
from chronoduck.backup.restore import restore_backup
from chronoduck.settings import BackupSettings, Settings

ROOT = "/api/v1/duckdb"


@pytest.fixture
async def client(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> AsyncIterator[httpx2.AsyncClient]:
    settings = make_settings(backup=BackupSettings(dir=tmp_path / "backups"))
    async with DuckDBService(settings) as service:
        await service.execute_query("CREATE TABLE t AS SELECT range AS a FROM range(100000)")
        app = create_app(service)
        app.state.access.authenticator = open_authenticator(settings)
        token = settings.token_path.read_text().strip()
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app),
            base_url=f"http://test{ROOT}",
            headers={"Authorization": f"Bearer {token}"},
        ) as opened:
            yield opened


async def follow(client: httpx2.AsyncClient, response: httpx2.Response) -> dict[str, Any]:
    assert response.status_code == 202, response.text
    path = response.headers["Location"].removeprefix(ROOT)
    while True:
        job: dict[str, Any] = (await client.get(path)).json()
        if job["state"] != "running":
            return job
        await asyncio.sleep(0.05)


async def test_a_backup_made_while_a_writer_goes_on_comes_back_whole(
    client: httpx2.AsyncClient, tmp_path: Path
) -> None:
    is_done = False
    written = 0

    async def write() -> None:
        nonlocal written
        while not is_done:
            answer = await client.post("/query", json={"query": "INSERT INTO t VALUES (-1)"})
            assert answer.status_code == 200
            written += 1

    writer = asyncio.create_task(write())
    job = await follow(client, await client.post("/backups", json={}))
    is_done = True
    await writer
    assert job["state"] == "succeeded", job
    listing = (await client.get("/backups")).json()
    assert [each["id"] for each in listing["backups"]] == [job["result"]["id"]]
    assert listing["next_at"]
    path = tmp_path / "backups" / job["result"]["file"]
    restore_backup(path, tmp_path / "out.db", BackupSettings(), verify="full")
    with duckdb.connect(str(tmp_path / "out.db"), read_only=True) as restored:
        rows = restored.execute("SELECT count(*) FROM t WHERE a >= 0").fetchall()
        extra = restored.execute("SELECT count(*) FROM t WHERE a < 0").fetchall()
    assert rows == [(100000,)]
    assert 0 <= extra[0][0] <= written
    verified = await follow(client, await client.post(f"/backups/{job['result']['id']}/verify"))
    assert verified["result"]["rows"] == 100000 + extra[0][0]


async def test_a_damaged_backup_fails_its_verification(
    client: httpx2.AsyncClient, tmp_path: Path
) -> None:
    job = await follow(client, await client.post("/backups", json={}))
    path = tmp_path / "backups" / job["result"]["file"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    verified = await follow(client, await client.post("/backups/latest/verify"))
    assert verified["state"] == "failed"
    assert verified["error"]["code"] == "backup_damaged"


async def test_a_failed_backup_degrades_health_and_says_what_to_do(
    client: httpx2.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "backups").write_text("a file where the directory should be")
    job = await follow(client, await client.post("/backups", json={}))
    assert job["error"]["code"] == "backup_failed"
    report = (await client.get("/health")).json()
    assert report["status"] == "degraded"
    assert "backup" in report["errors"][0]
    (tmp_path / "backups").unlink()
    assert (await follow(client, await client.post("/backups", json={})))["state"] == "succeeded"
    assert (await client.get("/health")).json()["status"] == "healthy"


async def test_one_backup_at_a_time_and_a_cancelled_one_leaves_nothing(
    client: httpx2.AsyncClient, tmp_path: Path
) -> None:
    first = await client.post("/backups", json={})
    second = await client.post("/backups", json={})
    assert second.status_code == 409
    assert second.json()["code"] == "job_running"
    ended = await client.delete(f"/jobs/{first.json()['id']}")
    assert ended.json()["state"] == "cancelled"
    assert (await client.get("/backups")).json()["backups"] == []
    job = await follow(client, await client.post("/backups", json={"tables": ["t"]}))
    assert job["result"]["kind"] == "tables"
    assert not list(tmp_path.glob("backups/.working-*"))


async def test_unknown_backups_and_jobs_are_not_found(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/backups/20000101_000000/verify")).status_code == 404
    assert (await client.get("/jobs/nothing")).json()["code"] == "not_found"
    response = await client.post("/backups", json={"tabels": ["t"]})
    assert response.status_code == 422
    failed = await follow(client, await client.post("/backups", json={"tables": ["nothing"]}))
    assert failed["error"]["code"] == "not_found"


async def test_a_checkpoint_waits_until_the_copy_is_made(service: DuckDBService) -> None:
    assert service._parts is not None
    checkpointer = service._parts.checkpointer
    async with checkpointer.held():
        waiting = asyncio.create_task(checkpointer.checkpoint())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await service.execute_query("CREATE TABLE t (a INTEGER)")  # writers do not wait
    await waiting
