"""What users write is bounded while it is written, in sum, whichever door it comes by."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.assembly.parts import Parts
from chronoduck.errors import SpoolSpaceError
from chronoduck.principals import Role
from chronoduck.settings import ExportSettings, JobSettings, QuotaSettings, Settings

API = "http://test/api/v1/duckdb"
MEGABYTE = 1_000_000
NOISE = "md5(i::VARCHAR) || md5((i + 1)::VARCHAR) AS t"


class Served:
    """A service in this process with an admin, and keys."""

    def __init__(self, service: DuckDBService, admin: httpx2.AsyncClient, parts: Parts) -> None:
        self.service, self.admin, self.parts = service, admin, parts
        self.settings = service.settings

    async def log_in(self, name: str, role: Role = Role.ANALYST) -> httpx2.AsyncClient:
        answer = await self.admin.post("/keys", json={"name": name, "role": role})
        assert answer.status_code == 201, answer.text
        return httpx2.AsyncClient(
            transport=self.admin._transport,
            base_url=API,
            headers={"Authorization": f"Bearer {answer.json()['key']}"},
        )

    @property
    def stored_bytes(self) -> int:
        """Bytes of results and exports on the disk."""
        roots = (self.settings.jobs_path, Path(str(self.settings.export.url)))
        return sum(
            path.stat().st_size
            for root in roots
            for path in root.rglob("*")
            if path.is_file() and path.suffix not in (".json", "") and path.name != "ages"
        )


@asynccontextmanager
async def _serving(settings: Settings) -> AsyncIterator[Served]:
    service = DuckDBService(settings)
    app = create_app(service)
    async with app.router.lifespan_context(app):
        token = settings.token_path.read_text().strip()
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app, raise_app_exceptions=False),
            base_url=API,
            headers={"Authorization": f"Bearer {token}"},
        ) as client:
            yield Served(service, client, await service.parts())


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve(make_settings: Callable[..., Settings], tmp_path: Path) -> Serve:
    """Return what serves a database with 4 MB for results, of which a user has 3."""

    def make(**settings: Any) -> AbstractAsyncContextManager[Served]:
        given = {
            "job": JobSettings(space=4 * MEGABYTE),
            "quota": QuotaSettings(space=75),
            "export": ExportSettings(url=str(tmp_path / "exports")),
            **settings,
        }
        return _serving(make_settings(**given))

    return make


async def ended(client: httpx2.AsyncClient, *jobs: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for job in jobs:
        while job["state"] == "running":
            await asyncio.sleep(0.02)
            job = (await client.get(f"/jobs/{job['id']}")).json()
        found.append(job)
    return found


async def test_partitions_jobs_and_published_exports_share_one_budget(serve: Serve) -> None:
    """Fails when a kind of files, or one begun beside others, is not counted."""
    async with serve() as served:
        ann, bob = await served.log_in("ann"), await served.log_in("bob")
        budget = served.parts.statement_jobs._store.budget
        big = {"query": f"SELECT i % 4 AS p, {NOISE} FROM range(200000) t(i)", "format": "csv"}
        wishes = [{**big, "partition_by": ["p"]}, big, {**big, "format": "parquet"}]
        begun = [(await ann.post("/exports", json=wish)).json() for wish in wishes]
        for job in await ended(ann, *begun):
            assert (job["state"], job["error"]["code"]) == ("failed", "job_space_full")
        assert served.stored_bytes == budget.used_bytes == 0
        # Each of them would fit alone: 1.3 MB.
        small = {**big, "query": f"SELECT i % 4 AS p, {NOISE} FROM range(20000) t(i)"}
        begun = [
            (await ann.post(path, json=wish)).json()
            for path, wish in (
                ("/exports", {**small, "partition_by": ["p"]}),
                ("/exports", small),
                ("/exports", {**small, "partition_by": ["p"]}),
                ("/jobs", {"query": small["query"]}),
                ("/exports", small),
            )
        ]
        jobs = await ended(ann, *begun)
        assert {job["state"] for job in jobs} == {"succeeded", "failed"}
        await asyncio.sleep(0)
        assert served.stored_bytes == budget.used_bytes <= budget.share_bytes
        # Another one has what is left of the total, and not more.
        [job] = await ended(bob, (await bob.post("/jobs", json={"query": "SELECT 1"})).json())
        assert job["state"] == "succeeded"
        assert served.stored_bytes == budget.used_bytes <= budget.total_bytes
        for job in jobs:
            await ann.delete(f"/jobs/{job['id']}")
        while len(budget._by_owner) > 1:
            await asyncio.sleep(0.02)
        assert served.stored_bytes == budget.used_bytes > 0


async def test_everybody_sees_its_own_part_and_operators_see_all(serve: Serve) -> None:
    """Fails when a budget is in no report, or another one's files are counted."""
    async with serve() as served:
        ann, bob = await served.log_in("ann"), await served.log_in("bob")
        rows = f"SELECT {NOISE} FROM range(20000) t(i)"
        [job] = await ended(ann, (await ann.post("/jobs", json={"query": rows})).json())
        assert job["state"] == "succeeded"
        budget = served.parts.statement_jobs._store.budget

        async def usage(client: httpx2.AsyncClient) -> dict[str, Any]:
            return dict((await client.get("/me")).json()["usage"])

        mine = (await usage(ann))["results_bytes"]
        assert mine["used"] == budget.used_bytes > 0
        assert mine["limit"] == budget.share_bytes
        assert mine["remaining"] == mine["limit"] - mine["used"]
        assert (await usage(ann))["audit_bytes"]["used"] > 0
        assert (await usage(bob))["results_bytes"]["used"] == 0
        assert (await usage(served.admin))["results_bytes"]["limit"] == budget.total_bytes
        everybody = {
            each["name"]: each["usage"] for each in (await served.admin.get("/usage")).json()
        }
        assert everybody["ann"]["results_bytes"] == mine
        # Somebody fills it up: an operator is told by health, and sees by how much.
        served.parts.space.uploads.claim("key:a").hold(served.settings.upload_space)
        with pytest.raises(SpoolSpaceError):
            served.parts.space.uploads.check("key:b")
        statistics = await served.service.get_statistics()
        assert statistics["space"]["results"] == {
            "used_bytes": mine["used"],
            "limit_bytes": budget.total_bytes,
            "refused": 0,
        }
        assert statistics["space"]["uploads"]["refused"] == 1
        health = (await served.admin.get("/health")).json()
        assert health["components"]["space"]["status"] == "degraded"
        assert "DUCKDB_UPLOAD_SPACE" in health["components"]["space"]["reason"]
        page, _ = await served.service.render_metrics("", show_versions=False)
        for line in (
            f'duckdb_space_used_bytes{{budget="results"}} {float(mine["used"])}',
            'duckdb_space_refused_total{budget="uploads"} 1.0',
            'duckdb_space_limit_bytes{budget="spools"} 4e+09',
        ):
            assert line in page.decode(), line


async def test_a_start_counts_what_is_there_and_removes_what_is_half(serve: Serve) -> None:
    async with serve() as served:
        wish = {"query": f"SELECT i % 4 AS p, {NOISE} FROM range(20000) t(i)", "format": "csv"}
        await ended(served.admin, (await served.admin.post("/exports", json=wish)).json())
        asked = {"query": wish["query"]}
        await ended(served.admin, (await served.admin.post("/jobs", json=asked)).json())
        before = served.parts.statement_jobs._store.budget.used_bytes
        half = Path(str(served.settings.export.url)) / "half_of_it"
        half.mkdir()
        (half / "a.csv").write_bytes(b"x" * MEGABYTE)
        # What a process writes before it publishes.
        (served.settings.jobs_path / "aa.json").write_text(
            '{"id":"aa","kind":"export","owner":"key:1","state":"running",'
            '"started_at":1,"result":{"folder":"half_of_it"}}'
        )
    async with serve() as served:
        assert served.parts.statement_jobs._store.budget.used_bytes == before
        while half.exists():
            await asyncio.sleep(0.02)
        assert served.stored_bytes == before


async def test_exports_have_a_number(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chronoduck.service.exports._MOST_EXPORTS", 3)
    async with serve(export=ExportSettings(url="/nowhere", partitions=2)) as served:
        failing = {"query": "SELECT range AS p, 1 AS n FROM range(3)", "partition_by": ["p"]}
        for _ in range(3):
            [job] = await ended(
                served.admin, (await served.admin.post("/exports", json=failing)).json()
            )
            assert job["error"]["code"] == "limit_exceeded"
        refused = await served.admin.post("/exports", json=failing)
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")


async def test_results_that_wait_are_bounded_and_small_ones_need_no_disk(serve: Serve) -> None:
    async with serve(spool_space=8 * MEGABYTE) as served:
        ann = await served.log_in("ann")
        rows = f"SELECT {NOISE} FROM range(%d) t(i)"
        for kind in ("csv", "parquet"):
            wish = {"query": rows % 400_000, "max_rows": 10**9}
            answer = await ann.post(f"/query?format={kind}", json=wish)
            assert (answer.status_code, answer.json()["code"]) == (507, "spool_space_full")
            wish["query"] = rows % 75_000  # 4.9 MB as CSV
            answer = await ann.post(f"/query?format={kind}", json=wish)
            assert answer.status_code == 200, answer.text
        spools = served.parts.space.spools
        assert (spools.used_bytes, spools.refused) == (0, 2)
    async with serve(disk_floor=10**18) as served:
        ann = await served.log_in("ann-again")
        wish = {"query": rows % 75_000, "max_rows": 10**9}
        answer = await ann.post("/query?format=csv", json=wish)
        assert (answer.status_code, answer.json()["code"]) == (507, "disk_floor")
        wish["query"] = rows % 1000
        assert (await ann.post("/query?format=csv", json=wish)).status_code == 200
        for path in ("/jobs", "/exports"):
            answer = await ann.post(path, json={"query": "SELECT 1"})
            assert (answer.status_code, answer.json()["code"]) == (507, "disk_floor"), path
        writer = await served.log_in("writer", Role.WRITER)
        answer = await writer.post(
            "/tables/t/rows", content=b"a\n" * MEGABYTE, headers={"Content-Type": "text/csv"}
        )
        assert (answer.status_code, answer.json()["code"]) == (507, "disk_floor")


async def test_uploads_and_what_is_unpacked_of_them_are_bounded(serve: Serve) -> None:
    async with serve(upload_space=2 * MEGABYTE, quota=QuotaSettings(space=50)) as served:
        ann = await served.log_in("ann", Role.WRITER)
        uploads = served.parts.space.uploads

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(30):
                yield b"12345,67890\n" * 10_000

        async def load(content: Any, **headers: str) -> httpx2.Response:
            headers = {"Content-Type": "text/csv", **headers}
            return await ann.post("/tables/t/rows", content=content, headers=headers)

        announced = await load(b"a\n" * MEGABYTE)
        grown = await load(pieces())
        for answer in (announced, grown):
            assert (answer.status_code, answer.json()["code"]) == (507, "spool_space_full")
        packed = gzip.compress(b"a,b\n" + b"1,2\n" * MEGABYTE)
        lines = (await load(packed)).text
        assert '"code":"spool_space_full"' in lines
        assert uploads.refused >= 3
        assert uploads.used_bytes == 0
        assert '"event":"done"' in (await load(b"a,b\n1,2\n")).text
        assert uploads.used_bytes == 0
