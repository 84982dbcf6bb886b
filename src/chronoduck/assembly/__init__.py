"""Where the rooms are joined: every object is built from settings here, and only here.

Imports every room below the API and the command line; nothing below imports this.
"""

from chronoduck.assembly.accessors import (
    execute_analytics_query,
    get_duckdb_service,
    get_service_health,
)
from chronoduck.assembly.duckdb_service import DuckDBService

__all__ = [
    "DuckDBService",
    "execute_analytics_query",
    "get_duckdb_service",
    "get_service_health",
]
