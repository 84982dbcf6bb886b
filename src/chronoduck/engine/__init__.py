"""The engine room: the one DuckDB instance, its pool, statements, deadlines and results.

The only room that imports ``duckdb``. It knows nothing of users, HTTP, the breaker or files to load;
everything it raises is an error of ``chronoduck.errors``. docs/architecture.md tells why.
"""
