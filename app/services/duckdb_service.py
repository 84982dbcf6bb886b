"""``from app.services.duckdb_service import get_duckdb_service``, as the operations guide says.

A platform that has an ``app`` of its own copies this file and the directory ``duckdb_skin`` beside it.
"""

from __future__ import annotations

from typing import Any

from chronoduck.engine.execution import Params
from chronoduck.engine.pool import ConnectionPool
from chronoduck.errors import (
    CircuitBreakerOpenException,
    DuckDBConnectionError,
    DuckDBException,
    DuckDBQueryError,
    DuckDBResourceError,
)
from chronoduck.resilience.breaker import CircuitBreaker, CircuitBreakerConfig

from .duckdb_skin import ConnectionMetrics, DuckDBService, QueryResult

__all__ = [
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerOpenException",
    "ConnectionMetrics",
    "ConnectionPool",
    "DuckDBConnectionError",
    "DuckDBException",
    "DuckDBQueryError",
    "DuckDBResourceError",
    "DuckDBService",
    "QueryResult",
    "duckdb_service",
    "execute_analytics_query",
    "get_duckdb_service",
    "get_service_health",
]

duckdb_service = DuckDBService()
"""The process's service. It reads its settings when they are first asked for, and opens nothing."""


async def get_duckdb_service() -> DuckDBService:
    """Return the process's service, opened.

    Raises:
        DuckDBException: it cannot be opened; the hint says what to do.
    """
    service = DuckDBService()
    await service.initialize()
    return service


async def execute_analytics_query(query: str, params: Params = None) -> Any:
    """Run one statement on the process's service and return its rows, a list of tuples."""
    return (await (await get_duckdb_service()).execute_query(query, params)).data


async def get_service_health() -> dict[str, Any]:
    """Return the health of the process's service; opens it, and reports one that cannot be opened."""
    try:
        service = await get_duckdb_service()
    except DuckDBException as error:
        health = await DuckDBService().health_check()
        health["errors"].insert(0, f"{error.detail}. {error.hint}".strip())
        return health
    return await service.health_check()
