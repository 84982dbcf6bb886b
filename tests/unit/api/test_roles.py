"""Every route demands the role it should, whoever asks; nothing is public by accident."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter

from chronoduck.api import create_app
from chronoduck.api.access import PUBLIC, required_role
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.routes import routers
from chronoduck.assembly import DuckDBService
from chronoduck.principals import Role

ENDLESS = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
NOT_OF_THE_API = {
    "/openapi.json",
    "/static-offline-docs",
    "/docs/api/duckdb",
    "/docs/api/duckdb/runbooks",
    "/docs/api/duckdb/runbooks/{name}",
    "/docs/oauth2-redirect",
}
ROLES = {
    "GET /me": Role.VIEWER,
    "GET /usage": Role.ADMIN,
    "GET /audit": Role.ADMIN,
    "GET /statistics/statements": Role.ADMIN,
    "GET /templates": Role.VIEWER,
    "GET /templates/{name}": Role.VIEWER,
    "GET /queries": Role.VIEWER,
    "GET /queries/{query_id}": Role.VIEWER,
    "DELETE /queries/{query_id}": Role.VIEWER,
    "POST /query": Role.ANALYST,
    "GET /query": Role.ANALYST,
    "POST /batch": Role.ANALYST,
    "POST /explain": Role.ANALYST,
    "GET /tables": Role.ANALYST,
    "HEAD /tables/{name:path}": Role.ANALYST,
    "GET /tables/{name:path}": Role.ANALYST,
    "POST /tables/{name:path}/rows": Role.WRITER,
    "GET /penalties": Role.ADMIN,
    "DELETE /penalties/{party:path}": Role.ADMIN,
    "POST /captures/rekey": Role.ADMIN,
    "POST /circuit-breaker/reset": Role.ADMIN,
    "POST /initialize": Role.ADMIN,
    "GET /replication": Role.ADMIN,
    "POST /replication/drill": Role.ADMIN,
    "GET /backups": Role.ADMIN,
    "POST /backups": Role.ADMIN,
    "POST /backups/{backup_id}/verify": Role.ADMIN,
    "GET /sync": Role.ADMIN,
    "POST /sync": Role.ADMIN,
    "DELETE /sync/{name}": Role.ADMIN,
    "POST /compact": Role.ADMIN,
    "POST /verify": Role.ADMIN,
    "POST /jobs": Role.ANALYST,
    "POST /exports": Role.ANALYST,
    "GET /exports": Role.ADMIN,
    "POST /exports/run": Role.ADMIN,
    "GET /exports/{job_id}/files/{name:path}": Role.VIEWER,
    "POST /exports/{job_id}/links": Role.VIEWER,
    "GET /jobs": Role.VIEWER,
    "GET /jobs/{job_id}": Role.VIEWER,
    "GET /jobs/{job_id}/result": Role.VIEWER,
    "GET /jobs/{job_id}/events": Role.VIEWER,
    "DELETE /jobs/{job_id}": Role.VIEWER,
    "GET /keys": Role.ADMIN,
    "POST /keys": Role.ADMIN,
    "DELETE /keys/{id_or_name}": Role.ADMIN,
}


def walk(routes: list[Any]) -> Iterator[Any]:
    for route in routes:
        if hasattr(route, "original_router"):
            yield from walk(route.original_router.routes)
        else:
            yield route


def test_every_route_is_listed_as_public_or_demands_the_role_of_this_table(
    app_service: DuckDBService,
) -> None:
    found = {}
    for route in walk(create_app(app_service).routes):
        if route.path in NOT_OF_THE_API:
            continue
        for method in route.methods:
            if (method, route.path) in PUBLIC:
                assert required_role(route.dependant) is None
            else:
                found[f"{method} {route.path}"] = required_role(route.dependant)
    assert found == ROLES


async def test_a_new_route_that_demands_no_role_is_not_served(
    app_service: DuckDBService, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten = APIRouter(route_class=ProblemRoute)

    @forgotten.get("/secrets")
    async def secrets() -> str:
        return "open to the world"

    monkeypatch.setattr("chronoduck.api.router.routers", [*routers, forgotten])
    with pytest.raises(RuntimeError, match="/secrets"):
        create_app(app_service)


@pytest.fixture
async def tokens(admin: httpx2.AsyncClient) -> dict[Role, str]:
    """A key of each role."""
    issued = {}
    for role in Role:
        answer = await admin.post("/keys", json={"name": f"the-{role}", "role": role})
        assert answer.status_code == 201, answer.text
        issued[role] = answer.json()["key"]
    return issued


@pytest.mark.parametrize("role", list(Role))
async def test_a_key_opens_what_its_role_includes_and_nothing_else(
    public: httpx2.AsyncClient, tokens: dict[Role, str], role: Role
) -> None:
    """What is let in may still fail, by 404 or 422; what is not gets 403 before anything is read."""
    headers = {"Authorization": f"Bearer {tokens[role]}"}
    # Nothing that ends statements or begins jobs which the next requests wait for.
    for call, needed in ROLES.items():
        method, path = call.split()
        path = path.replace("{", "no-such-").replace("}", "")
        if role.includes(needed) and call in ("POST /compact", "POST /verify"):
            continue
        answer = await public.request(method, path, headers=headers, content=b"{")
        if role.includes(needed):
            assert answer.status_code not in (401, 403, 429), (call, answer.text)
        else:
            assert answer.status_code == 403, (call, answer.text)
            if method == "HEAD":
                continue  # has no body
            assert answer.json()["code"] == "forbidden"
            assert str(needed) in answer.json()["detail"]


@pytest.fixture
async def long_statement(public: httpx2.AsyncClient, tokens: dict[Role, str]) -> AsyncIterator[str]:
    """The id of a statement that the analyst runs."""
    headers = {"Authorization": f"Bearer {tokens[Role.ANALYST]}"}
    task = asyncio.create_task(public.post("/query", json={"query": ENDLESS}, headers=headers))
    while True:
        running = (await public.get("/queries", headers=headers)).json()
        if running:
            break
        await asyncio.sleep(0.01)
    yield running[0]["id"]
    await public.delete(f"/queries/{running[0]['id']}", headers=headers)
    await task


async def test_a_principal_sees_and_ends_its_own_statements_alone(
    public: httpx2.AsyncClient, tokens: dict[Role, str], long_statement: str
) -> None:
    own = {"Authorization": f"Bearer {tokens[Role.ANALYST]}"}
    other = {"Authorization": f"Bearer {tokens[Role.WRITER]}"}
    path = f"/queries/{long_statement}"
    assert (await public.get("/queries", headers=other)).json() == []
    assert (await public.get(path, headers=other)).status_code == 404
    assert (await public.delete(path, headers=other)).status_code == 404
    shown = (await public.get(path, headers=own)).json()
    assert (shown["id"], shown["user"]) == (long_statement, "the-analyst")
    assert (await public.delete(path, headers=own)).status_code == 200


async def test_an_admin_sees_and_ends_the_statements_of_all(
    admin: httpx2.AsyncClient, long_statement: str
) -> None:
    assert [each["id"] for each in (await admin.get("/queries")).json()] == [long_statement]
    assert (await admin.delete(f"/queries/{long_statement}")).status_code == 200


async def test_health_tells_its_details_to_admins_alone(
    public: httpx2.AsyncClient, tokens: dict[Role, str]
) -> None:
    for role in Role:
        headers = {"Authorization": f"Bearer {tokens[role]}"}
        report = (await public.get("/health", headers=headers)).json()
        assert ("database_path" in report) == (role is Role.ADMIN)
    public.headers.pop("Authorization", None)
    assert "database_path" not in (await public.get("/health")).json()


async def test_two_authorization_headers_are_none(
    public: httpx2.AsyncClient, tokens: dict[Role, str]
) -> None:
    public.headers.pop("Authorization", None)
    header = ("Authorization", f"Bearer {tokens[Role.ADMIN]}")
    answer = await public.get("/tables", headers=[header, header])
    assert answer.status_code == 401
    assert (await public.get("/tables", headers=[header])).status_code == 200
