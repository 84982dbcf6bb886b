"""Words of a failing engine in statements, by every route that takes some: their sender alone is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.principals import Role
from chronoduck.settings import ExportSettings, Settings
from tests.patience import PATIENCE_SECONDS

WORDS = (
    "FATAL Error: FATAL",
    "IO Error: Could not fsync: Input/output error",
    "No space left on device",
    '{"exception_type":"FATAL","exception_message":"FATAL"}',
    '{"exception_type":"IO","exception_message":"x","errno":"28"}',
)
FORMATS = ("json", "ndjson", "csv", "arrow", "parquet")
INFRASTRUCTURE = {
    "database_failed",
    "database_corrupt",
    "disk_full",
    "out_of_memory",
    "engine_bug",
    "write_outcome_unknown",
    "service_unavailable",
    "circuit_breaker_open",
}


@pytest.fixture
def settings(make_settings: Callable[..., Settings], tmp_path: Path) -> Settings:
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "words.sql").write_text(
        "-- name: words\n-- description: A word.\n-- param word: string; It.\n\n"
        "SELECT error($word) AS x\n"
    )
    return make_settings(
        templates_directory=templates, export=ExportSettings(url=str(tmp_path / "exports"))
    )


async def ended(client: httpx2.AsyncClient, answer: httpx2.Response) -> dict[str, Any]:
    """Return the error of a job, once it has ended."""
    if answer.status_code != 202:
        return dict(answer.json())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            job = (await client.get(f"/jobs/{answer.json()['id']}")).json()
            if job["error"] is not None:
                return dict(job["error"])
            await asyncio.sleep(0.02)


async def told(client: httpx2.AsyncClient, word: str) -> list[str]:
    """Return the codes of all errors that the word comes back in."""
    literal = "'" + word.replace("'", "''") + "'"
    late = f"SELECT id, CASE WHEN id > 20000 THEN error({literal}) END AS x FROM s03"
    now = f"SELECT error({literal}) AS x"
    answers: list[str] = []

    def take(answer: httpx2.Response) -> None:
        text = answer.text
        if answer.status_code == 200:  # the error comes in the stream, or is a cut answer
            lines = [line for line in text.splitlines() if '"code"' in line]
            answers.extend(json.loads(line)["error"]["code"] for line in lines if "error" in line)
        else:
            assert 400 <= answer.status_code < 500, (word, text)
            answers.append(answer.json()["code"])

    for sql in (now, late):
        for kind in FORMATS:
            try:
                take(await client.post(f"/query?format={kind}", json={"query": sql}))
            except httpx2.RemoteProtocolError:
                answers.append("cut")
        take(await client.post("/batch", json={"queries": ["SELECT 1", sql]}))
        take(await client.post("/explain", json={"query": sql, "analyze": True}))
        for route in ("/jobs", "/exports"):
            body = {"query": sql, "format": "parquet"} if route == "/exports" else {"query": sql}
            answers.append((await ended(client, await client.post(route, json=body)))["code"])
    take(await client.get("/templates/words", params={"word": word}))
    rows = json.dumps({"id": word}).encode()
    for kind in ("application/json", "application/x-ndjson"):
        answer = await client.post("/tables/s03/rows", content=rows, headers={"Content-Type": kind})
        answers.append(str(answer.json().get("code") or answer.json()["error"]["code"]))
    return answers


async def test_by_every_route(
    admin: httpx2.AsyncClient,
    log_in: Callable[..., httpx2.AsyncClient],
    app_service: DuckDBService,
) -> None:
    made = "CREATE TABLE s03 AS SELECT range::INTEGER AS id FROM range(30000)"
    assert (await admin.post("/query", json={"query": made})).status_code == 200
    writer = log_in("writer", Role.WRITER)
    for word in WORDS:
        codes = await told(writer, word)
        assert not INFRASTRUCTURE & set(codes), (word, codes)
        assert len(codes) > 15, codes
    health = (await admin.get("/health")).json()
    assert health["status"] == "healthy"
    assert health["healing"]["count"] == 0
    assert health["circuit_breaker"]["metrics"]["failed_requests"] == 0
    parts = await app_service.parts()
    assert parts.instance.generation == 1
    assert parts.instance.failures.probe.last.write_errno is None
    answer = await admin.post("/query", json={"query": "SELECT count(*) FROM s03"})
    assert answer.json()["data"] == [[30000]]
