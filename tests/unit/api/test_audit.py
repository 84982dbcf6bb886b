"""``GET audit``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from fastapi import Request

from chronoduck.api import create_app, routes
from chronoduck.api.access import attach
from chronoduck.assembly import DuckDBService
from chronoduck.errors import PermissionDeniedError, QuotaExceededError
from chronoduck.principals import Principal, Role
from chronoduck.resilience.penalty_records import FaultKind
from chronoduck.service.records import Caller
from chronoduck.settings import AuditSettings, Settings
from tests.patience import PATIENCE_SECONDS

MakeSettings = Callable[..., Settings]


async def until(
    look: Callable[[], Awaitable[list[dict[str, Any]]]], count: int
) -> list[dict[str, Any]]:
    end = time.monotonic() + PATIENCE_SECONDS
    while len(found := await look()) < count:
        assert time.monotonic() < end, found
    return found


async def test_pages_lead_from_the_newest_to_the_oldest_event(admin: httpx2.AsyncClient) -> None:
    async def statements() -> list[dict[str, Any]]:
        answer = await admin.get("/audit", params={"event": "statement", "limit": 1000})
        return list(answer.json()["events"])

    for number in range(25):
        await admin.post("/query", json={"query": f"SELECT {number}"})
    whole = await until(statements, 25)
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        given = {"event": "statement", "limit": 10, **({"cursor": cursor} if cursor else {})}
        page = (await admin.get("/audit", params=given)).json()
        found += page["events"]
        await admin.post("/query", json={"query": "SELECT 'meanwhile'"})
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == whole
    exported = await admin.get("/audit", params={"format": "ndjson", "event": "statement"})
    assert exported.headers["content-type"] == "application/x-ndjson"
    lines = [orjson.loads(line) for line in exported.text.splitlines()]
    assert lines[:25] == whole[::-1]


@pytest.mark.parametrize(
    "query", ["since=yesterday", "cursor=x", "limit=0", "limit=1001", "format=xml"]
)
async def test_what_cannot_be_understood_is_refused(admin: httpx2.AsyncClient, query: str) -> None:
    answer = await admin.get(f"/audit?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_strangers_do_not_read_it(public: httpx2.AsyncClient) -> None:
    assert (await public.get("/audit")).status_code == 401


async def test_a_service_without_a_trail_says_so(make_settings: MakeSettings) -> None:
    service = DuckDBService(make_settings(audit=AuditSettings(enabled=False)))
    app = create_app(service)
    async with app.router.lifespan_context(app):
        token = service.settings.token_path.read_text().strip()
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app), base_url="http://test/api/v1/duckdb"
        ) as client:
            client.headers["Authorization"] = f"Bearer {token}"
            assert (await client.get("/audit")).status_code == 404
            assert (await client.get("/health")).json()["status"] == "healthy"
    assert not service.settings.audit_path.exists()


async def test_a_request_refused_before_it_is_a_statement_is_recorded(
    settings: Settings,
) -> None:
    service = DuckDBService(settings)
    app = create_app(service)

    @app.get("/forbidden")
    async def forbidden(request: Request) -> None:
        attach(request.scope, app.state.access)
        raise PermissionDeniedError("not for you")

    @app.get("/too-much")
    async def too_much(request: Request) -> None:
        attach(request.scope, app.state.access)
        raise QuotaExceededError("enough")

    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            assert (await client.get("/forbidden")).status_code == 403
            assert (await client.get("/too-much")).status_code == 429
    lines = [orjson.loads(line) for line in settings.audit_path.read_bytes().splitlines()]
    refused = [line for line in lines if line["event"] == "request_refused"]
    assert [(line["verdict"], line["code"], line["path"]) for line in refused] == [
        ("refused", "forbidden", "/forbidden"),
        ("quota", "quota_exceeded", "/too-much"),
    ]


async def test_the_list_of_statements_masks_secrets(
    admin: httpx2.AsyncClient, app_service: DuckDBService
) -> None:
    async with app_service.transaction() as transaction:
        await transaction.execute("SELECT 'hunter2' AS password")
        (listed,) = (await admin.get("/queries")).json()
        assert listed["query"].endswith("SELECT '***' AS password")
        shown = await admin.get(f"/queries/{listed['id']}")
        assert "hunter2" not in shown.text


async def test_every_act_is_in_the_file_before_it_is_answered(
    admin: httpx2.AsyncClient, app_service: DuckDBService, settings: Settings
) -> None:
    caller = Caller("eve", principal=Principal("eve", Role.ANALYST, "key:eve"))
    app_service.penalties.note_fault(caller, "SELECT 1", FaultKind.INTERNAL_ERROR)
    endless = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"

    async def act(event: str, method: str, path: str, **more: Any) -> Any:
        answer = await admin.request(method, path, **more)
        # Nothing was awaited since: only what was written before the answer is there.
        whole, _, _ = settings.audit_path.read_bytes().rpartition(b"\n")
        events = [orjson.loads(each)["event"] for each in whole.splitlines()]
        assert answer.status_code < 300, answer.text
        assert event in events, (event, events)
        return answer.json()

    await act("penalty_released", "DELETE", "/penalties/key:eve")
    await act("breaker_reset", "POST", "/circuit-breaker/reset")
    await act("initialized", "POST", "/initialize")
    await act("key_created", "POST", "/keys", json={"name": "ann", "role": "viewer"})
    await act("key_revoked", "DELETE", "/keys/ann")
    job = await act("statement_started", "POST", "/jobs", json={"query": endless})
    await act("job_cancelled", "DELETE", f"/jobs/{job['id']}")
    running = asyncio.ensure_future(admin.post("/query", json={"query": endless}))
    while not (found := (await admin.get("/queries")).json()):
        await asyncio.sleep(0.02)
    await act("statement_killed", "DELETE", f"/queries/{found[0]['id']}")
    await running
    await act("compaction_started", "POST", "/compact")
    await act("audit_read", "GET", "/audit")


def test_no_route_records_an_act_behind_its_answer() -> None:
    for path in Path(routes.__file__).parent.glob("*.py"):
        assert "audit.act(" not in path.read_text(), path.name
