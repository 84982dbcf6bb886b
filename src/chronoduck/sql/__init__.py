"""SQL as text: what a statement is, and what DuckDB makes of it. Knows no service and no database."""
