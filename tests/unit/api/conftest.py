"""The application in this process, called through its ASGI interface by a real HTTP client."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.auth.key_file import KeyFile
from chronoduck.auth.keys import KeyWish
from chronoduck.principals import Limits, Role
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
def log_in(public: httpx2.AsyncClient, settings: Settings) -> Callable[..., httpx2.AsyncClient]:
    """Return what makes a client with a key of its own: ``log_in("ann", Role.ANALYST, ...)``.

    Its ``headers["X-Key-Id"]`` is the principal's id.
    """

    def make(name: str, role: Role = Role.ANALYST, **limits: float) -> httpx2.AsyncClient:
        wish = KeyWish(name, role, limits=Limits(**limits))  # type: ignore[arg-type]
        key, token = KeyFile(settings.keys_path).add(wish, time.time())
        return httpx2.AsyncClient(
            transport=public._transport,
            base_url=public.base_url,
            headers={"Authorization": f"Bearer {token}", "X-Key-Id": key.principal().id},
        )

    return make
