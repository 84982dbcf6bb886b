"""The one service of this process, for callers that do not want to carry it around."""

from __future__ import annotations

from typing import Any

from chronoduck.assembly.duckdb_service import DuckDBService
from chronoduck.engine.execution import Params
from chronoduck.service.results import QueryResult

__all__ = ["execute_analytics_query", "get_duckdb_service", "get_service_health"]

_service: DuckDBService | None = None


async def get_duckdb_service() -> DuckDBService:
    """Return the process's service, opened; the settings come from the environment.

    Raises:
        DuckDBConnectionError: the database cannot be opened.
        SettingsError: a setting is invalid.
    """
    service = _the_service()
    await service.initialize()
    return service


def _the_service() -> DuckDBService:
    global _service
    if _service is None:
        _service = DuckDBService()
    return _service


async def execute_analytics_query(query: str, params: Params = None) -> QueryResult:
    """Run one statement on the process's service."""
    return await (await get_duckdb_service()).execute_query(query, params)


async def get_service_health() -> dict[str, Any]:
    """Return the health of the process's service without opening it."""
    return await _the_service().health_check()
