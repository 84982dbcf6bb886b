"""How fast rows come in over HTTP, against DuckDB in the same process as its caller."""
