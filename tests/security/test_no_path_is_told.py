"""No answer to a user tells where on the machine the service keeps its files.

All directories of the service have a name that stands nowhere else; a broad run of requests that fail,
and of some that do not, is searched for it.
"""

from __future__ import annotations

import asyncio
import json
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
STATEMENTS = [
    *("SELECT current_query()", "SELECT * FROM nothing", "SELECT 1 +", "SELECT error('x')"),
    *(
        "SELECT * FROM 'x.parquet'",
        "FROM read_csv('x.csv')",
        "SELECT * FROM read_text('/etc/passwd')",
    ),
    *(
        "FROM glob('*')",
        "FROM duckdb_databases()",
        "PRAGMA database_list",
        "SELECT current_database()",
    ),
    *("ATTACH 'x.db'", "ATTACH 'x.db' AS y", "COPY t TO 'x.csv'", "COPY t FROM 'nothing.csv'"),
    *(
        "EXPORT DATABASE 'x'",
        "IMPORT DATABASE 'x'",
        "LOAD nothing",
        "INSTALL nothing",
        "CHECKPOINT",
    ),
    *(
        "SELECT current_setting('temp_directory')",
        "FROM duckdb_settings()",
        "USE nothing",
        "DETACH test",
    ),
    *(
        "CREATE TABLE t (i INTEGER)",
        "INSERT INTO t VALUES ('x')",
        "ALTER TABLE nothing ADD COLUMN x INT",
    ),
    *(
        "EXPLAIN SELECT * FROM t",
        "EXPLAIN ANALYZE SELECT * FROM t",
        "SUMMARIZE t",
        "DESCRIBE t",
        "VACUUM",
    ),
    *(
        "SELECT * FROM nothing.main.t",
        "SELECT * FROM t AT (VERSION => 1)",
        "SET temp_directory = 'x'",
    ),
    "SELECT sum(length(repeat(i::VARCHAR, 10000))) FROM range(200000) r(i) GROUP BY hash(i) ORDER BY 1",
    "SELECT list(repeat(i::VARCHAR, 20000)) FROM range(100000) r(i)",
    "SELECT row_number() OVER (ORDER BY hash(i), repeat(i::VARCHAR, 50)) FROM range(9000000) r(i)",
]
UPLOADS = {
    "csv": [b"a,b\n1,2\n3", b'a\n"x', b"\xff\xfe\x00", b"a,a\n1,2\n", b"", b"i\nx\n"],
    "ndjson": [b'{"a": 1', b"[]", b"\xff", b'{"a": {"b": 1}}\n{"a": 2}', b'{"i": "x"}'],
    "parquet": [b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1", b"", b"nothing"],
    "arrow": [b"ARROW1", b"\xff\xff\xff\xff\x00\x00", b"", b"nothing"],
    "cdx": [b" CDX N b a\nx\n", b"nothing", b""],
    "warc": [b"WARC/1.0\r\n", b"nothing"],
}


@pytest.fixture
async def clients(tmp_path: Path) -> AsyncIterator[list[httpx2.AsyncClient]]:
    """Yield a client without a key, and one for each role that is not an admin's."""
    home = tmp_path / SIGN
    home.mkdir()
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
        yield made


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


async def _finished(client: httpx2.AsyncClient, searched: Searched, told: Any) -> None:
    """Search a job until it has ended, and its files."""
    if not isinstance(told, dict) or "id" not in told:
        return
    while True:
        job = searched.look(await client.get(f"/jobs/{told['id']}"))
        if job["state"] != "running":
            break
        await asyncio.sleep(0.05)
    searched.look(await client.get(f"/jobs/{told['id']}/result"))
    searched.look(await client.get(f"/jobs/{told['id']}/events"))
    for file in ((job.get("result") or {}).get("files")) or ():
        answer = await client.get(f"/exports/{told['id']}/files/{file['name']}")
        searched.answers += 1
        table = pq.read_table(pa.BufferReader(answer.content))
        if SIGN in str(table.to_pydict()):
            searched.told.append(f"an export of {told}")


async def test_no_answer_tells_a_path(clients: list[httpx2.AsyncClient]) -> None:
    searched = Searched()
    for client in clients:
        for path in (
            "health",
            "metrics",
            "statistics",
            "tables",
            "tables/nothing",
            "queries",
            "jobs",
        ):
            searched.look(await client.get(f"/{path}"))
        for path in (
            "templates/nothing",
            "downloads/a.b",
            "jobs/nothing",
            "exports/x/files/y",
            "x",
        ):
            searched.look(await client.get(f"/{path}"))
    analyst, writer = clients[2:]
    searched.look(await writer.post("/query", json={"query": STATEMENTS[24]}))
    for sql in STATEMENTS:
        for client in (analyst, writer):
            searched.look(await client.post("/query", json={"query": sql}))
        searched.look(await writer.post("/batch", json={"statements": [{"query": sql}]}))
        searched.look(await analyst.post("/explain", json={"query": sql}))
    for sql in STATEMENTS[:30]:
        for wish in ({"format": "parquet"}, {"format": "parquet", "partition_by": ["k"]}):
            asked = f"SELECT *, 1 AS k FROM ({sql})"
            told = searched.look(await analyst.post("/exports", json={"query": asked, **wish}))
            await _finished(analyst, searched, told)
        told = searched.look(await writer.post("/jobs", json={"query": sql}))
        await _finished(writer, searched, told)
    for kind, bodies in UPLOADS.items():
        for body in bodies:
            for mode in ("append", "create", "replace"):
                query = f"/tables/t/rows?format={kind}&mode={mode}"
                searched.look(await writer.post(query, content=body))
    assert searched.answers > 300
    assert searched.told == [], "\n".join(searched.told)
