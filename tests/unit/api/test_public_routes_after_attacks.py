"""What users wrote, paths and addresses: in no answer that is given without a credential."""

from __future__ import annotations

import resource
from pathlib import Path

import httpx2

from chronoduck.api.access import PUBLIC
from chronoduck.assembly import DuckDBService
from chronoduck.settings import Settings

CANARY = "CANARY_4711"
HOSTILE = (
    f"SELECT error('FATAL {CANARY}')",
    f"SELECT error('IO Error: No space left {CANARY}')",
    f"SELECT '{CANARY}'::INTEGER",
    f'SELECT "{CANARY}"',
    f'CREATE TABLE "{CANARY}" (a INTEGER)',
    f"INSERT INTO \"{CANARY}\" SELECT error('{CANARY}')::INTEGER",
    f"FROM read_csv('/{CANARY}')",
    f"FROM read_parquet('s3://{CANARY}/x')",
    f"EXPLAIN SELECT '{CANARY}'",
    f"SELECT 1 AS \"{CANARY}\" WHERE error('{CANARY}')",
)


async def texts_of(client: httpx2.AsyncClient) -> dict[str, str]:
    """Return what every public route answers to somebody without a credential."""
    bare = httpx2.AsyncClient(transport=client._transport, base_url=client.base_url)
    answers = {}
    for method, path in sorted(PUBLIC):
        answer = await bare.request(method, path.replace("{token}", "a.b"))
        answers[f"{method} {path}"] = f"{answer.headers} {answer.text}"
    root = httpx2.AsyncClient(transport=client._transport, base_url="http://test")
    answers["/metrics"] = (await root.get("/metrics")).text
    refused = await bare.post("/query", json={"query": f"SELECT '{CANARY}'"})
    answers["refusal"] = refused.text
    return answers


def assert_clean(answers: dict[str, str], *secrets: str) -> None:
    for where, text in answers.items():
        for secret in (CANARY, "Stack Trace", "0x7f", *secrets):
            assert secret not in text, (where, text)


async def test_after_hostile_statements_jobs_and_uploads(
    admin: httpx2.AsyncClient, app_service: DuckDBService, settings: Settings, tmp_path: Path
) -> None:
    for sql in HOSTILE:
        await admin.post("/query", json={"query": sql})
        await admin.post("/query?format=arrow", json={"query": sql})
        await admin.post("/jobs", json={"query": sql})
    await admin.post("/batch", json={"queries": list(HOSTILE)})
    for kind in ("application/vnd.apache.parquet", "text/csv"):
        body = b"PAR1" + CANARY.encode() * 30 + b"PAR1"
        await admin.post(f"/tables/{CANARY}/rows", content=body, headers={"Content-Type": kind})
    await admin.get(f"/templates/{CANARY}")
    await admin.get(f"/jobs/{CANARY}")
    assert_clean(await texts_of(admin), str(tmp_path))


async def test_after_a_database_was_lost_and_reopened(
    admin: httpx2.AsyncClient, settings: Settings, tmp_path: Path
) -> None:
    table = f'"{CANARY}"'
    for sql in (
        f"CREATE TABLE {table} AS SELECT range AS a FROM range(1000)",
        "CHECKPOINT",
        f"INSERT INTO {table} FROM range(100000)",
    ):
        assert (await admin.post("/query", json={"query": sql})).status_code == 200
    wal = settings.database_path.with_name(settings.database_path.name + ".wal")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size, before[1]))
    try:
        lost = await admin.post("/query", json={"query": "CHECKPOINT"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert lost.json()["code"] == "database_failed"
    assert (await admin.post("/query", json={"query": "SELECT 1"})).status_code == 200
    answers = await texts_of(admin)
    assert "a fatal error stopped the database engine" in answers["GET /health"]
    assert_clean(answers, str(tmp_path))


async def test_while_the_breaker_is_open(
    admin: httpx2.AsyncClient, app_service: DuckDBService, tmp_path: Path
) -> None:
    app_service.circuit_breaker.force_open()
    refused = await admin.post("/query", json={"query": "SELECT 1"})
    assert refused.json()["code"] == "circuit_breaker_open"
    assert_clean({**await texts_of(admin), "refused": refused.text}, str(tmp_path))
