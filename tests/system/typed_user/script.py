"""What a user writes, for a strict type checker: every public call of the package is in it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chronoduck import (
    CircuitBreakerOpenException,
    DuckDBConnectionError,
    DuckDBException,
    DuckDBQueryError,
    DuckDBResourceError,
    DuckDBService,
    get_duckdb_service,
)
from chronoduck.api import create_app, create_router
from chronoduck.assembly import execute_analytics_query, get_service_health
from chronoduck.client import AsyncClient, Client
from chronoduck.principals import Limits, Principal, Role, Scope, TableGrant
from chronoduck.settings import ReplicaSettings, Settings, load_settings


async def ask(service: DuckDBService) -> int:
    result = await service.execute_query("SELECT $n::INTEGER AS n", {"n": 1}, timeout=5)
    names: list[str] = result.columns
    rows: list[tuple[object, ...]] = result.data
    batch = await service.execute_batch(["SELECT 1", ("SELECT ?", [2])])
    async with service.transaction() as opened:
        kept: int = (await opened.execute("SELECT 1")).row_count
    sizes: list[int] = [batch.num_rows async for batch in service.stream("FROM range(10)")]
    health: dict[str, object] = await service.health_check()
    statistics: dict[str, object] = await service.get_statistics()
    service.circuit_breaker.force_open("a test")
    service.circuit_breaker.force_closed("a test")
    return len(names) + sum(sizes) + len(rows) + len(batch) + kept + len(health) + len(statistics)


async def main() -> None:
    path = Path("analytics.db")
    plain = Settings(database_path=path, worker_threads=2)
    written = Settings(
        database_path="analytics.db",
        memory_limit="512MB",
        statement_timeout="30s",
        replica=ReplicaSettings(url="file:///var/lib/replica"),
    )
    read = load_settings(database_path=path)
    limit: int = written.memory_limit
    print(plain.database_path, read.database_path, limit)
    async with DuckDBService(plain) as service:
        await ask(service)
        scope = Scope(tables=(TableGrant("seen"),))
        Principal("ann", Role.ANALYST, "user:ann", scope, Limits(max_rows=10))
        create_app(service)
        create_router(service)
    shared: DuckDBService = await get_duckdb_service()
    try:
        await shared.initialize()
        await execute_analytics_query("SELECT 1")
        await get_service_health()
    except (DuckDBQueryError, DuckDBResourceError, DuckDBConnectionError) as error:
        print(error.code, error.detail, error.hint, error.retryable)
    except (CircuitBreakerOpenException, DuckDBException) as error:
        print(error.retry_after_seconds)
    finally:
        await shared.shutdown()
    with Client("http://localhost:8000", token="secret") as client:
        client.query("SELECT 1").scalar()
    async with AsyncClient("http://localhost:8000", token="secret") as asking:
        await asking.query("SELECT 1")


if __name__ == "__main__":
    asyncio.run(main())
