"""chronoduck: run a DuckDB file as a service.

``DuckDBService`` and ``get_duckdb_service`` are the way in for Python; ``chronoduck`` on the command
line and the HTTP API under ``/api/v1/duckdb`` are the ways in for everybody else.
"""

__version__ = "0.1.0"
