"""No answer to a user tells where on the machine the service keeps its files.

All directories of the service have a name that stands nowhere else; a broad run of requests that fail,
and of some that do not, is searched for it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.principals import Role
from chronoduck.settings import ExportSettings, load_settings
from tests.patience import PATIENCE_SECONDS

API = "http://test/api/v1/duckdb"
SIGN = "zq7dirsign"
TABLE = "CREATE TABLE t (i INTEGER)"
QUERIES = (
    *("SELECT current_query()", "SELECT * FROM nothing", "SELECT 1 +", "SELECT error('x')"),
    *(
        "SELECT * FROM 'x.parquet'",
        "FROM read_csv('x.csv')",
        "SELECT * FROM read_text('/etc/passwd')",
    ),
    *("FROM glob('*')", "FROM duckdb_databases()", "SELECT current_database()"),
    *("SELECT current_setting('temp_directory')", "FROM duckdb_settings()"),
    *("SELECT * FROM nothing.main.t", "SELECT * FROM t AT (VERSION => 1)", "SELECT 1 AS i"),
)
OTHERS = (
    *("PRAGMA database_list", "ATTACH 'x.db'", "ATTACH 'x.db' AS y", "COPY t TO 'x.csv'"),
    *("COPY t FROM 'nothing.csv'", "EXPORT DATABASE 'x'", "IMPORT DATABASE 'x'", "LOAD nothing"),
    *(
        "INSTALL nothing",
        "CHECKPOINT",
        "USE nothing",
        "DETACH test",
        TABLE,
        "SUMMARIZE t",
        "DESCRIBE t",
    ),
    *("INSERT INTO t VALUES ('x')", "ALTER TABLE nothing ADD COLUMN x INT", "VACUUM"),
    *("EXPLAIN SELECT * FROM t", "EXPLAIN ANALYZE SELECT * FROM t", "SET temp_directory = 'x'"),
)
SPILLING = "SELECT list(repeat(i::VARCHAR, 20000)) FROM range(100000) r(i)"
"""Needs more than it may spill."""
UPLOADS = {
    "csv": [b"a,b\n1,2\n3", b'a\n"x', b"\xff\xfe\x00", b"a,a\n1,2\n", b"", b"i\nx\n"],
    "ndjson": [b'{"a": 1', b"[]", b"\xff", b'{"a": {"b": 1}}\n{"a": 2}', b'{"i": "x"}'],
    "parquet": [b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1", b"", b"nothing"],
    "arrow": [b"ARROW1", b"\xff\xff\xff\xff\x00\x00", b"", b"nothing"],
    "cdx": [b" CDX N b a\nx\n", b"nothing", b""],
    "warc": [b"WARC/1.0\r\n", b"nothing"],
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where everything of the service lies."""
    path = tmp_path / SIGN
    path.mkdir()
    return path


@pytest.fixture
async def clients(home: Path) -> AsyncIterator[list[httpx2.AsyncClient]]:
    """Yield a client without a key, one for each role that is not an admin's, and an admin's."""
    settings = load_settings(
        database_path=home / "test.db",
        temp_directory=home / f"{SIGN}-temp",
        memory_limit="200MB",
        worker_threads=2,
        ballast_size=0,
        shutdown_grace=0.5,
        max_temp_size="30MB",
        export=ExportSettings(url=str(home / "exports")),
    )
    app = create_app(DuckDBService(settings))
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        admin = settings.token_path.read_text().strip()

        def client(token: str | None) -> httpx2.AsyncClient:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            return httpx2.AsyncClient(
                transport=transport, base_url=API, headers=headers, timeout=PATIENCE_SECONDS
            )

        made = [client(None)]
        for role in (Role.VIEWER, Role.ANALYST, Role.WRITER):
            answer = await client(admin).post("/keys", json={"name": role.value, "role": role})
            made.append(client(answer.json()["key"]))
        yield [*made, client(admin)]


class Searched:
    """What answers were searched, and those that told something."""

    def __init__(self) -> None:
        self.answers = 0
        self.told: list[str] = []

    def look(self, answer: httpx2.Response) -> Any:
        self.answers += 1
        text = f"{answer.headers} {answer.text}"
        if SIGN in text:
            at = text.index(SIGN)
            asked = f"{answer.request.method} {answer.request.url} {answer.request.content[:200]!r}"
            self.told.append(f"{asked}: {text[max(at - 200, 0) : at + 100]}")
        try:
            return answer.json()
        except (json.JSONDecodeError, UnicodeDecodeError):
            return None


async def _finished(client: httpx2.AsyncClient, searched: Searched, told: Any) -> Any:
    """Search a job until it has ended, and its files; return it."""
    if not isinstance(told, dict) or "id" not in told:
        return None
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (job := searched.look(await client.get(f"/jobs/{told['id']}")))["state"] == "running":
            await asyncio.sleep(0.02)
    for what in ("result", "events"):
        searched.look(await client.get(f"/jobs/{told['id']}/{what}"))
    for file in ((job.get("result") or {}).get("files")) or ():
        searched.look(await client.post(f"/exports/{job['id']}/links", json={"file": file["name"]}))
        answer = await client.get(f"/exports/{told['id']}/files/{file['name']}")
        searched.answers += 1
        table = pq.read_table(pa.BufferReader(answer.content))
        if SIGN in str(table.to_pydict()):
            searched.told.append(f"an export of {told}")
    return job


async def test_no_answer_tells_a_path(clients: list[httpx2.AsyncClient], home: Path) -> None:
    searched = Searched()
    *users, admin = clients
    for client in users:
        for path in (
            *(
                "health",
                "metrics",
                "statistics",
                "tables",
                "tables/nothing",
                "queries",
                "jobs",
                "me",
            ),
            *(
                "templates",
                "templates/nothing",
                "downloads/a.b",
                "jobs/nothing",
                "exports/x/files/y",
            ),
            *("x", "backups", "exports", "audit", "keys", "sync"),
        ):
            searched.look(await client.get(f"/{path}"))
    analyst, writer = users[2:]
    assert (await writer.post("/query", json={"query": TABLE})).status_code == 200
    for sql in (*QUERIES, *OTHERS):
        for client in (analyst, writer):
            searched.look(await client.post("/query", json={"query": sql}))
        searched.look(await writer.post("/batch", json={"queries": [sql]}))
        searched.look(await analyst.post("/explain", json={"query": sql}))
        told = searched.look(await writer.post("/jobs", json={"query": sql}))
        await _finished(writer, searched, told)
    searched.look(await analyst.post("/query", json={"query": SPILLING}))
    exported = []
    for sql in QUERIES:
        for wish in ({"format": "parquet"}, {"format": "parquet", "partition_by": ["k"]}):
            asked = f"SELECT *, 1 AS k FROM ({sql})"
            told = searched.look(await analyst.post("/exports", json={"query": asked, **wish}))
            exported.append(await _finished(analyst, searched, told))
    searched.look(await analyst.get("/jobs"))
    for kind, bodies in UPLOADS.items():
        for body in bodies:
            for mode in ("append", "create", "replace"):
                query = f"/tables/t/rows?format={kind}&mode={mode}"
                searched.look(await writer.post(query, content=body))
    assert searched.answers > 300
    assert searched.told == [], "\n".join(searched.told)
    # Its owner is told the folder, and an operator where it is.
    done = next(job for job in exported if job is not None and job["state"] == "succeeded")
    shown = (await admin.get(f"/jobs/{done['id']}")).json()["result"]
    assert done["result"]["url"] == shown["folder"]
    assert shown["url"] == str(home / "exports" / shown["folder"])


@pytest.mark.parametrize("gone", ["exports", f"{SIGN}-temp", "test.jobs"])
async def test_what_fails_for_want_of_a_directory_tells_no_path(
    clients: list[httpx2.AsyncClient], home: Path, gone: str
) -> None:
    searched = Searched()
    analyst, writer = clients[2:4]
    assert (await writer.post("/query", json={"query": TABLE})).status_code == 200
    shutil.rmtree(home / gone, ignore_errors=True)
    (home / gone).write_text("no directory")
    searched.look(await analyst.get("/health"))
    for path, body in (
        ("/query", {"query": SPILLING}),
        ("/query?format=csv", {"query": "FROM range(100000)", "max_rows": 50_000}),
        ("/jobs", {"query": "SELECT 1"}),
        ("/exports", {"query": "SELECT 1 AS k"}),
        ("/exports", {"query": "SELECT 1 AS k, 2 AS l", "partition_by": ["k"]}),
    ):
        told = searched.look(await analyst.post(path, json=body))
        await _finished(analyst, searched, told)
    for kind in ("csv", "parquet"):
        answer = await writer.post(f"/tables/t/rows?format={kind}", content=b"i\n1\n")
        searched.look(answer)
    searched.look(await analyst.get("/jobs"))
    searched.look(await analyst.get("/health"))
    assert searched.told == [], "\n".join(searched.told)
