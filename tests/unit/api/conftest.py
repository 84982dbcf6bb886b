"""The application in this process, called through its ASGI interface by a real HTTP client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from fastapi import Request

import chronoduck.api.access
import chronoduck.api.routes.query
from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.principals import Limits, Principal, Role
from chronoduck.service.records import Caller
from chronoduck.settings import Settings

API = "/api/v1/duckdb"


@pytest.fixture
async def app_service(settings: Settings) -> DuckDBService:
    return DuckDBService(settings)


@pytest.fixture
async def public(app_service: DuckDBService) -> AsyncIterator[httpx2.AsyncClient]:
    """A client without a token."""
    app = create_app(app_service)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://test{API}") as client:
            yield client


@pytest.fixture
def admin(public: httpx2.AsyncClient, settings: Settings) -> httpx2.AsyncClient:
    """The same client with the admin token."""
    public.headers["Authorization"] = f"Bearer {settings.token_path.read_text().strip()}"
    return public


@pytest.fixture
def log_in(
    public: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., httpx2.AsyncClient]:
    """Return what makes a client of a principal with limits: ``log_in("ann", Role.ANALYST, ...)``."""
    known: dict[str, Principal] = {}
    ask_token = chronoduck.api.access.check_token

    def check(request: Request) -> Caller:
        name = request.headers.get("x-test-principal")
        if name is None:
            return ask_token(request)
        return Caller(name, request.scope["state"]["request_id"], known[name])

    for module in (chronoduck.api.access, chronoduck.api.routes.query):
        monkeypatch.setattr(module, "check_token", check)

    def make(name: str, role: Role = Role.ANALYST, **limits: float) -> httpx2.AsyncClient:
        known[name] = Principal(name, role, f"key:{name}", limits=Limits(**limits))  # type: ignore[arg-type]
        return httpx2.AsyncClient(
            transport=public._transport,
            base_url=public.base_url,
            headers={"X-Test-Principal": name},
        )

    return make
