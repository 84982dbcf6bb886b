"""Exports: every format and knob read back from the files, partitions, links, and who may fetch."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.principals import Role
from chronoduck.settings import ExportSettings, Settings

API = "http://test/api/v1/duckdb"
ROWS = "SELECT range AS n, range % 3 AS part, 'x' AS t FROM range(1000)"


@pytest.fixture
def export_settings(make_settings: Callable[..., Settings], tmp_path: Path) -> Settings:
    return make_settings(
        export=ExportSettings(url=str(tmp_path / "exports")),
        parquet_compression="GZIP",
        parquet_row_group_size=100,
        parquet_enable_dictionary=False,
    )


@pytest.fixture
async def admin(export_settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    app = create_app(DuckDBService(export_settings))
    async with app.router.lifespan_context(app):
        token = export_settings.token_path.read_text().strip()
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app, raise_app_exceptions=False),
            base_url=API,
            headers={"Authorization": f"Bearer {token}"},
        ) as client:
            yield client


async def log_in(admin: httpx2.AsyncClient, name: str, **wish: Any) -> httpx2.AsyncClient:
    answer = await admin.post("/keys", json={"name": name, "role": Role.ANALYST, **wish})
    assert answer.status_code == 201, answer.text
    return httpx2.AsyncClient(
        transport=admin._transport,
        base_url=API,
        headers={"Authorization": f"Bearer {answer.json()['key']}"},
    )


async def export(client: httpx2.AsyncClient, sql: str = ROWS, **wish: Any) -> dict[str, Any]:
    answer = await client.post("/exports", json={"query": sql, **wish})
    assert answer.status_code == 202, answer.text
    for _ in range(24_000):
        job: dict[str, Any] = (await client.get(f"/jobs/{answer.json()['id']}")).json()
        if job["state"] != "running":
            return job
        await asyncio.sleep(0.01)
    raise AssertionError(job)


async def fetch(client: httpx2.AsyncClient, job: dict[str, Any], number: int = 0) -> bytes:
    file = job["result"]["files"][number]
    answer = await client.get(f"/exports/{job['id']}/files/{file['name']}")
    assert answer.status_code == 200, answer.text
    assert len(answer.content) == file["bytes"] == int(answer.headers["content-length"])
    return answer.content


async def test_every_format_in_one_file(admin: httpx2.AsyncClient) -> None:
    expected = [(n, n % 3, "x") for n in range(1000)]
    job = await export(admin, format="parquet", name="pages")
    assert job["state"] == "succeeded", job
    assert job["result"]["row_count"] == 1000
    assert [file["name"] for file in job["result"]["files"]] == ["pages.parquet"]
    file = pq.ParquetFile(io.BytesIO(await fetch(admin, job)))
    assert [tuple(row.values()) for row in file.read().to_pylist()] == expected
    group = file.metadata.row_group(0)
    assert (file.metadata.num_row_groups, group.num_rows) == (10, 100)
    assert group.column(0).compression == "GZIP"
    assert not group.column(0).has_dictionary_page
    text = (await fetch(admin, await export(admin, format="csv"))).decode()
    assert list(csv.reader(io.StringIO(text)))[1:3] == [["0", "0", "x"], ["1", "1", "x"]]
    lines = (await fetch(admin, await export(admin, format="json"))).decode().splitlines()
    assert json.loads(lines[1]) == {"n": 1, "part": 1, "t": "x"}
    arrow = await fetch(admin, await export(admin, format="arrow"))
    assert pa.ipc.open_stream(arrow).read_all().num_rows == 1000


async def test_partitions_become_folders(
    admin: httpx2.AsyncClient, export_settings: Settings
) -> None:
    job = await export(admin, sql=f"{ROWS} -- all of it", partition_by=["part"])
    assert job["state"] == "succeeded", job
    assert job["result"]["row_count"] == 1000
    names = [file["name"] for file in job["result"]["files"]]
    assert {name.split("/")[0] for name in names} == {"part=0", "part=1", "part=2"}
    files = [await fetch(admin, job, number) for number in range(len(names))]
    assert sum(pq.read_metadata(io.BytesIO(file)).num_rows for file in files) == 1000
    group = pq.ParquetFile(io.BytesIO(await fetch(admin, job))).metadata.row_group(0)
    assert group.column(0).compression == "GZIP"
    assert not list(export_settings.jobs_path.glob("*.scratch"))


async def test_a_partition_cannot_leave_its_folder(
    admin: httpx2.AsyncClient, tmp_path: Path
) -> None:
    job = await export(admin, sql="SELECT '../../../out' AS p, 1 AS a", partition_by=["p"])
    assert job["state"] in ("succeeded", "failed")
    assert not list(tmp_path.rglob("out*"))


@pytest.mark.parametrize(
    ("wish", "status", "code"),
    [
        ({"query": "SELEC"}, 400, "query_error"),
        ({"query": "CREATE TABLE t (a INTEGER)"}, 422, "invalid_request"),
        ({"query": "SELECT 1", "name": "../x"}, 422, "invalid_request"),
        ({"query": "SELECT 1", "format": "xlsx"}, 422, "invalid_request"),
        (
            {"query": "SELECT 1 AS a", "format": "arrow", "partition_by": ["a"]},
            422,
            "invalid_request",
        ),
    ],
)
async def test_what_cannot_be_exported_is_told_at_once(
    admin: httpx2.AsyncClient, wish: dict[str, Any], status: int, code: str
) -> None:
    answer = await admin.post("/exports", json=wish)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert (await admin.get("/jobs")).json() == []


async def test_a_column_that_is_not_there_fails_the_job(admin: httpx2.AsyncClient) -> None:
    job = await export(admin, partition_by=["no_such"])
    assert (job["state"], job["error"]["code"]) == ("failed", "query_error")


async def test_exports_are_ones_own(admin: httpx2.AsyncClient) -> None:
    ann, bob = await log_in(admin, "ann"), await log_in(admin, "bob")
    job = await export(ann)
    assert await fetch(ann, job) == await fetch(admin, job)
    path = f"/exports/{job['id']}"
    assert (await bob.get(f"{path}/files/export.parquet")).status_code == 404
    link = await bob.post(f"{path}/links", json={"file": "export.parquet"})
    assert link.status_code == 404
    for name in ("../x", "other.parquet", "%2e%2e/keys.json", ""):
        assert (await ann.get(f"{path}/files/{name}")).status_code == 404


async def test_a_narrowed_key_exports_what_it_sees(admin: httpx2.AsyncClient) -> None:
    await admin.post("/query", json={"query": f"CREATE TABLE t AS {ROWS}"})
    grant = {"tables": [{"name": "t", "filter": "part = 1"}]}
    key = await log_in(admin, "narrow", **grant)
    for wish in ({}, {"partition_by": ["part"]}):
        job = await export(key, "FROM t", **wish)
        assert job["state"] == "succeeded", job
        assert job["result"]["row_count"] == 333


async def test_a_link_is_for_one_file_and_a_while(
    admin: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await log_in(admin, "ann")
    job = await export(ann)
    asked = {"file": "export.parquet", "expires_in_seconds": 60}
    link = (await ann.post(f"/exports/{job['id']}/links", json=asked)).json()
    stranger = httpx2.AsyncClient(transport=admin._transport, base_url="http://test")
    answer = await stranger.get(link["url"])
    assert answer.content == await fetch(ann, job)
    assert "export.parquet" in answer.headers["content-disposition"]
    token = link["url"].rsplit("/", 1)[1]
    for wrong in (token[:-1], token + "x", "x" + token, token.split(".")[0], "é.é"):
        refused = await stranger.get(f"/api/v1/duckdb/downloads/{wrong}")
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    import time

    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert "expired" in (await stranger.get(link["url"])).json()["detail"]
    monkeypatch.undo()
    await ann.delete(f"/jobs/{job['id']}")
    assert (await stranger.get(link["url"])).status_code == 404


@pytest.mark.parametrize("revoked", ["ann", "boss"])
async def test_a_link_ends_with_the_key_of_whose_file_it_is_and_of_who_made_it(
    admin: httpx2.AsyncClient, revoked: str
) -> None:
    ann, boss = await log_in(admin, "ann"), await log_in(admin, "boss", role=Role.ADMIN)
    job = await export(ann)
    link = (await boss.post(f"/exports/{job['id']}/links", json={"file": "export.parquet"})).json()
    stranger = httpx2.AsyncClient(transport=admin._transport, base_url="http://test")
    assert (await stranger.get(link["url"])).status_code == 200
    await admin.delete(f"/keys/{revoked}")
    refused = await stranger.get(link["url"])
    assert refused.status_code == 401
    assert "revoked" in refused.json()["detail"]


async def test_forgetting_an_export_removes_its_files(
    admin: httpx2.AsyncClient, tmp_path: Path
) -> None:
    job = await export(admin)
    folder = tmp_path / "exports" / job["result"]["folder"]
    assert {path.name for path in folder.iterdir()} == {"_SUCCESS", "export.parquet"}
    await admin.delete(f"/jobs/{job['id']}")
    for _ in range(20_000):
        if not folder.exists():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the files are still there")


async def test_without_a_place_for_them_there_are_no_exports(
    make_settings: Callable[..., Settings],
) -> None:
    app = create_app(DuckDBService(make_settings()))
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app)
        token = app.state.access.service.settings.token_path.read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(transport=transport, base_url=API, headers=headers) as client:
            answer = await client.post("/exports", json={"query": "SELECT 1"})
    assert (answer.status_code, answer.json()["code"]) == (409, "exports_off")
    assert "DUCKDB_EXPORT_URL" in answer.json()["hint"]
