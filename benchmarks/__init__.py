"""Measures the service beside in-process DuckDB and DuckDB's own Quack server, in one run."""
