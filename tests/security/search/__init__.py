"""A search for statements that the guard passes and that DuckDB does not survive or stop for."""
