"""``from app.services.duckdb_service import get_duckdb_service``, as the operations guide says."""

from chronoduck.assembly import (
    DuckDBService,
    execute_analytics_query,
    get_duckdb_service,
    get_service_health,
)
from chronoduck.engine.pool import ConnectionPool
from chronoduck.errors import (
    CircuitBreakerOpenException,
    DuckDBConnectionError,
    DuckDBException,
    DuckDBQueryError,
    DuckDBResourceError,
)
from chronoduck.resilience.breaker import CircuitBreaker, CircuitBreakerConfig
from chronoduck.service.results import QueryResult

__all__ = [
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerOpenException",
    "ConnectionPool",
    "DuckDBConnectionError",
    "DuckDBException",
    "DuckDBQueryError",
    "DuckDBResourceError",
    "DuckDBService",
    "QueryResult",
    "execute_analytics_query",
    "get_duckdb_service",
    "get_service_health",
]
