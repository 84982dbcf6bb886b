"""Syncs from PostgreSQL, measured against DuckDB's own extension."""
