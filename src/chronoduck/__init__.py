"""chronoduck: run a DuckDB file as a service.

``DuckDBService`` and ``get_duckdb_service`` are the way in for Python; ``chronoduck`` on the
command line and the HTTP API under ``/api/v1/duckdb`` are the ways in for everybody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chronoduck.errors import (
    CircuitBreakerOpenException,
    DuckDBConnectionError,
    DuckDBException,
    DuckDBQueryError,
    DuckDBResourceError,
)

if TYPE_CHECKING:
    from chronoduck.assembly import DuckDBService, get_duckdb_service

__version__ = "0.1.0"
_ON_DEMAND = ("DuckDBService", "get_duckdb_service")
__all__ = [
    "CircuitBreakerOpenException",
    "DuckDBConnectionError",
    "DuckDBException",
    "DuckDBQueryError",
    "DuckDBResourceError",
    "DuckDBService",
    "get_duckdb_service",
]


def __getattr__(name: str) -> Any:
    # Loaded on demand: the command line imports this package a second before it needs the engine.
    if name in _ON_DEMAND:
        from chronoduck import assembly  # noqa: PLC0415

        return getattr(assembly, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
