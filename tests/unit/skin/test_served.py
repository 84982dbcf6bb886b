"""One service for HTTP and for the code beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2
import pytest

from app.services.duckdb_service import DuckDBException, DuckDBService, get_duckdb_service
from chronoduck.api import create_app
from chronoduck.settings import Settings
from tests.patience import PATIENCE_SECONDS

API = "/api/v1/duckdb"


@pytest.fixture
async def service(make_settings: Callable[..., Settings]) -> AsyncIterator[DuckDBService]:
    """The process's service, opened by its own code before the server starts."""
    opened = DuckDBService(make_settings(statement_timeout=PATIENCE_SECONDS))
    await opened.initialize()
    await opened.execute_query("CREATE TABLE seen AS SELECT 1 AS n")
    yield opened
    await opened.shutdown()


@pytest.fixture
async def admin(service: DuckDBService) -> AsyncIterator[httpx2.AsyncClient]:
    app = create_app(service.service)
    async with app.router.lifespan_context(app):
        token = service.settings.token_path.read_text().strip()
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app, raise_app_exceptions=False),
            base_url=f"http://test{API}",
            headers={"Authorization": f"Bearer {token}"},
        ) as client:
            yield client


async def test_http_and_the_code_beside_it_use_the_same_service(
    service: DuckDBService, admin: httpx2.AsyncClient
) -> None:
    assert await get_duckdb_service() is service
    answer = await admin.post("/query", json={"query": "INSERT INTO seen VALUES (2)"})
    assert answer.status_code == 200, answer.text
    assert (await service.execute_query("SELECT sum(n) FROM seen")).data == [(3,)]
    async with service.transaction() as opened:
        opened.execute("INSERT INTO seen VALUES (3)")
        await asyncio.to_thread(opened.execute, "INSERT INTO seen VALUES (4)")
    lent = await service.get_connection()
    rows = await asyncio.to_thread(lambda: lent.execute("SELECT sum(n) FROM seen").fetchall())
    assert rows == [(10,)]
    with pytest.raises(DuckDBException, match="would block the event loop"):
        lent.execute("SELECT 1")
    service.return_connection(lent)
    assert service.metrics.active_connections == 0
    service.circuit_breaker.force_closed("a test")
    assert (await asyncio.to_thread(lambda: service.metrics)).total_queries > 0


async def test_strangers_do_not_reach_the_files_of_this_process(
    service: DuckDBService, admin: httpx2.AsyncClient
) -> None:
    file = Path(service.temp_directory) / "numbers.parquet"
    await service.execute_query(f"COPY (FROM range(3)) TO '{file}' (FORMAT parquet)")
    assert (await service.execute_query(f"SELECT count(*) FROM '{file}'")).data == [(3,)]
    for text in (
        f"SELECT count(*) FROM read_parquet('{file}')",
        f"SELECT count(*) FROM '{file}'",
        f"COPY (SELECT 1) TO '{file}' (FORMAT parquet)",
    ):
        answer = await admin.post("/query", json={"query": text})
        assert answer.status_code == 403, answer.text
    assert (await service.execute_query(f"SELECT count(*) FROM '{file}'")).data == [(3,)]
