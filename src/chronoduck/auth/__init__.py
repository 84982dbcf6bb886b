"""Who asks: the admin token. Must not know HTTP, statements or DuckDB."""
