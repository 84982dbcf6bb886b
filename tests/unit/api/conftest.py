"""The application in this process, called through its ASGI interface by a real HTTP client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
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
