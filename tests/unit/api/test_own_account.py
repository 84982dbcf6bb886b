"""Whatever a principal asks for runs on its own account: nothing on that of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2

from chronoduck.assembly import DuckDBService
from chronoduck.auth.key_file import KeyFile
from chronoduck.auth.keys import KeyWish
from chronoduck.principals import LOCAL, Role, TableGrant
from chronoduck.settings import Settings

LogIn = Callable[..., httpx2.AsyncClient]


async def _job(client: httpx2.AsyncClient, sql: str) -> str:
    job = (await client.post("/jobs", json={"query": sql})).json()
    while job["state"] == "running":
        await asyncio.sleep(0.02)
        job = (await client.get(f"/jobs/{job['id']}")).json()
    assert job["state"] == "succeeded", job
    return str(job["id"])


def _statements(service: DuckDBService, principal_id: str) -> int:
    counts = {each["id"]: each["since_start"]["statements"] for each in service.quotas.usage()}
    return int(counts.get(principal_id, 0))


ROUTES: list[tuple[str, str, dict[str, Any] | None, int]] = [
    ("GET", "/tables", None, 1),
    ("GET", "/tables/seen", None, 4),
    ("GET", "/jobs/{job}/result?format=ndjson", None, 1),
    ("GET", "/jobs/{job}/result?format=csv", None, 1),
    ("POST", "/query", {"query": "SELECT * FROM seen"}, 1),
    ("POST", "/batch", {"queries": ["SELECT 1", "SELECT 2"]}, 1),
    ("POST", "/explain", {"query": "SELECT 1"}, 1),
]
"""Method, path, body, and how many statements it runs at least."""


async def test_every_route_runs_its_statements_on_the_account_of_who_asks(
    admin: httpx2.AsyncClient, app_service: DuckDBService, log_in: LogIn
) -> None:
    """Fails when a route borrows the identity of the service."""
    await admin.post("/query", json={"query": "CREATE TABLE seen AS SELECT 1 AS n"})
    ann = log_in("ann")
    job = await _job(ann, "SELECT 7 AS n")
    for method, path, body, least in ROUTES:
        own = _statements(app_service, ann.headers["X-Key-Id"])
        of_service = _statements(app_service, LOCAL.id)
        answer = await ann.request(method, path.format(job=job), json=body)
        assert answer.status_code == 200, answer.text
        assert _statements(app_service, LOCAL.id) == of_service, path
        assert _statements(app_service, ann.headers["X-Key-Id"]) >= own + least, path


async def test_readers_of_a_result_are_held_to_the_quota_of_its_owner(
    app_service: DuckDBService, log_in: LogIn
) -> None:
    """Fails when slow readers of one's own result take more connections than one may have."""
    ann = log_in("ann", concurrent_statements=1)
    job = await _job(ann, "SELECT 7 AS n")
    account = app_service.quotas._accounts[ann.headers["X-Key-Id"]]
    account.open_statement()  # another of ann's statements is being read
    try:
        refused = await ann.get(f"/jobs/{job}/result", params={"format": "ndjson"})
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
        refused = await ann.get("/tables")
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    finally:
        account.close_statement()
    assert (await ann.get(f"/jobs/{job}/result")).status_code == 200


async def test_limits_of_results_hide_no_table(admin: httpx2.AsyncClient, log_in: LogIn) -> None:
    """Fails when a listing of the service is cut as if it were a statement of the user."""
    for name in ("a", "b", "c"):
        await admin.post("/query", json={"query": f"CREATE TABLE {name} AS SELECT 1 AS n"})
    ann = log_in("ann", max_rows=1, max_scan_rows=1)
    assert [each["name"] for each in (await ann.get("/tables")).json()] == ["a", "b", "c"]
    assert (await ann.get("/tables/c")).status_code == 200


async def test_a_narrowed_key_reads_its_own_results_and_tables(
    admin: httpx2.AsyncClient, settings: Settings
) -> None:
    """Fails when the text of the service is judged, or bound, as if the user had sent it."""
    await admin.post(
        "/query", json={"query": "CREATE TABLE seen AS SELECT range AS n FROM range(9)"}
    )
    wish = KeyWish("eve", Role.ANALYST, tables=(TableGrant("seen", row_filter="n < 3"),))
    _, token = KeyFile(settings.keys_path).add(wish, 0.0)
    eve = httpx2.AsyncClient(
        transport=admin._transport,
        base_url=admin.base_url,
        headers={"Authorization": f"Bearer {token}"},
    )
    job = await _job(eve, "SELECT * FROM seen ORDER BY n")
    assert (await eve.get(f"/jobs/{job}/result")).json()["data"] == [[0], [1], [2]]
    assert [each["name"] for each in (await eve.get("/tables")).json()] == ["seen"]
    table = (await eve.get("/tables/seen")).json()
    assert table["sample"]["data"] == [[0], [1], [2]]
