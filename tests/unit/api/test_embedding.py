"""The API inside an application that knows its users itself: its word is asked for, and its alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request

from chronoduck.api import create_app, create_router
from chronoduck.api.access import PUBLIC
from chronoduck.assembly import DuckDBService
from chronoduck.principals import Principal, Role
from chronoduck.settings import Settings
from tests.unit.api.test_roles import ROLES

PREFIX = "/api/v1/duckdb"
BY_NAME = {f"user-{role}": role for role in Role}


async def session(request: Request) -> str:
    user = request.cookies.get("session")
    if user is None:
        raise HTTPException(401, "log in first")
    return user


async def as_principal(user: Annotated[str, Depends(session)]) -> Principal | None:
    return Principal(user, BY_NAME[user], f"user:{user}") if user in BY_NAME else None


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://x{PREFIX}") as client:
            yield client


@pytest.fixture(params=["create_app", "create_router"])
async def client(
    request: pytest.FixtureRequest, app_service: DuckDBService
) -> AsyncIterator[httpx2.AsyncClient]:
    if request.param == "create_app":
        app = create_app(app_service, as_principal)
    else:
        app = FastAPI()
        app.include_router(create_router(app_service, as_principal), prefix=PREFIX)
    async with opened(app) as client:
        yield client
    assert not app_service.is_initialized, "closed with the application"


@pytest.mark.parametrize("role", list(Role))
async def test_the_hosts_principal_opens_what_its_role_includes(
    client: httpx2.AsyncClient, role: Role
) -> None:
    client.cookies.set("session", f"user-{role}")
    for call, needed in ROLES.items():
        method, path = call.split()
        if path.startswith("/keys") or call in ("POST /compact", "POST /verify"):
            continue
        path = path.replace("{", "no-such-").replace("}", "")
        answer = await client.request(method, path, content=b"{")
        if role.includes(needed):
            assert answer.status_code not in (401, 403), (call, answer.text)
        else:
            assert answer.status_code == 403, call
            assert method == "HEAD" or answer.json()["code"] == "forbidden"


async def test_no_route_gets_past_the_hosts_dependency(
    client: httpx2.AsyncClient, settings: Settings
) -> None:
    """Not even with the admin token of an earlier life, and not by the fast path of statements."""
    settings.token_path.write_text("cd_earlier")
    settings.token_path.chmod(0o600)
    headers = {"Authorization": "Bearer cd_earlier"}
    for call in ROLES:
        method, path = call.split()
        answer = await client.request(method, path, headers=headers, json={"query": "SELECT 1"})
        assert answer.status_code in ((404, 405) if path.startswith("/keys") else (401,)), call


async def test_a_dependency_that_names_nobody_lets_nobody_in(client: httpx2.AsyncClient) -> None:
    client.cookies.set("session", "stranger")
    answer = await client.post("/query", json={"query": "SELECT 1"})
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthenticated"


async def test_public_routes_stay_public_and_tell_no_details(client: httpx2.AsyncClient) -> None:
    client.cookies.set("session", "user-admin")
    for method, path in PUBLIC:
        answer = await client.request(method, path)
        if (
            path == "/metrics" and answer.status_code == 404
        ):  # create_app has it outside of the prefix
            answer = await client.request(method, f"http://x{path}")
        # A link is a credential of its own, and this is none.
        assert answer.status_code == (401 if path.startswith("/downloads/") else 200)
        assert b"database_path" not in answer.content


async def test_statements_run_as_the_hosts_user(client: httpx2.AsyncClient) -> None:
    client.cookies.set("session", "user-analyst")
    answer = await client.post("/query", json={"query": "SELECT 42"})
    assert answer.json()["data"] == [[42]]
    failed = await client.post("/query", json={"query": "SELEC 42"})
    assert failed.headers["content-type"] == "application/problem+json"
    assert len(failed.json()["request_id"]) == 32


async def test_the_hosts_own_routes_and_errors_are_left_alone(app_service: DuckDBService) -> None:
    app = FastAPI()
    app.include_router(create_router(app_service), prefix=PREFIX)

    @app.get("/own")
    async def own() -> str:
        raise HTTPException(418, "teapot")

    async with opened(app) as client:
        answer = await client.get("http://x/own")
        assert (answer.status_code, answer.json()) == (418, {"detail": "teapot"})
        token = app_service.settings.token_path.read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        assert (await client.get("/keys", headers=headers)).json() == {"keys": []}
        assert (await client.get("/keys")).status_code == 401
        begun = await client.post("/verify", headers=headers)
        assert begun.status_code == 202
        followed = await client.get(f"http://x{begun.headers['Location']}", headers=headers)
        assert followed.status_code == 200


async def test_two_services_in_one_application_are_not_mixed_up(
    app_service: DuckDBService, settings: Settings
) -> None:
    other = DuckDBService(
        settings.model_copy(update={"database_path": settings.database_path.with_name("other.db")})
    )
    other.settings.database_path.parent.mkdir(exist_ok=True, parents=True)
    app = FastAPI()
    app.include_router(create_router(app_service, as_principal), prefix=PREFIX)
    app.include_router(create_router(other, as_principal), prefix="/other")
    async with opened(app) as client:
        client.cookies.set("session", "user-writer")
        made = await client.post("/query", json={"query": "CREATE TABLE t (a INT)"})
        assert made.status_code == 200
        assert [each["name"] for each in (await client.get("/tables")).json()] == ["t"]
        assert (await client.get("http://x/other/tables")).json() == []


async def test_the_service_is_open_for_all_of_the_hosts_own_lifespan(
    app_service: DuckDBService,
) -> None:
    """Also where the routes are included in a router that is included itself."""
    seen = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, int]]:
        seen.append((await app_service.execute_query("SELECT 1")).data)
        yield {"kept": 7}
        seen.append((await app_service.execute_query("SELECT 2")).data)

    app, between = FastAPI(lifespan=lifespan), APIRouter()
    between.include_router(create_router(app_service), prefix="/deep")
    app.include_router(between, prefix="/inside")
    async with app.router.lifespan_context(app) as state:
        assert state == {"kept": 7}
    assert seen == [[(1,)], [(2,)]]
    assert not app_service.is_initialized


async def test_hints_and_locations_lead_to_pages_of_the_host(app_service: DuckDBService) -> None:
    app = FastAPI(docs_url="/help")
    app.include_router(create_router(app_service, as_principal), prefix="/inside")
    async with opened(app) as client:
        client.cookies.set("session", "user-admin")
        inside = "http://x/inside"
        problems = [
            await client.post(f"{inside}/query", json={"quer": "SELECT 1"}),
            await client.get(f"{inside}/statistics/statements", params={"limit": "a"}),
            await client.get(f"{inside}/tables/none"),
            await client.get(f"{inside}/jobs/none"),
            await client.delete(f"{inside}/queries/none"),
            await client.post(f"{inside}/query", json={"query": "SELEC 1"}),
            await client.get(f"{inside}/templates/none"),
        ]
        named = [path for each in problems for path in paths_in(each.json()["hint"])]
        assert named == ["/help", "/help"]
        for path in named:
            assert (await client.get(f"http://x{path}")).status_code == 200, path
        begun = await client.post(f"{inside}/verify")
        assert begun.headers["Location"] == f"/inside/jobs/{begun.json()['id']}"
        assert (await client.get(f"http://x{begun.headers['Location']}")).status_code == 200


async def test_templates_are_in_the_hosts_document_below_its_prefix(
    app_service: DuckDBService,
) -> None:
    app = FastAPI()
    app.include_router(create_router(app_service, as_principal), prefix="/inside")
    before = app.openapi()["paths"]
    async with opened(app) as client:
        paths = (await client.get("http://x/openapi.json")).json()["paths"]
        library = await app_service.templates()
    added = {f"/inside/templates/{name}" for name in library.names()}
    assert added
    assert paths.keys() - before.keys() == added
    for path in added:
        described = paths[path]["get"]
        assert described["operationId"].startswith("template_")
        assert {each["name"] for each in described["parameters"]} >= {"format"}


def paths_in(hint: str) -> list[str]:
    return [word.rstrip(".,;") for word in hint.split() if word.startswith("/")]


async def test_a_host_without_pages_gets_hints_without_addresses(
    app_service: DuckDBService,
) -> None:
    app = FastAPI(openapi_url=None)
    app.include_router(create_router(app_service, as_principal, metrics=False), prefix=PREFIX)
    async with opened(app) as client:
        client.cookies.set("session", "user-admin")
        assert (await client.post("/query", json={"quer": 1})).json()["hint"] == ""
        assert (await client.get("/metrics")).status_code == 404
