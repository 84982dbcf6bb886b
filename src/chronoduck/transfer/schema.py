"""The platform's tables: one row a capture, one row a user's metric."""

from __future__ import annotations

from chronoduck.own_schema import PRODUCT_NAMES
from chronoduck.sql.rules.file_names import folded
from chronoduck.table_names import parse_table_name
from chronoduck.transfer.sql import SqlSession

__all__ = [
    "CAPTURES_TABLE",
    "PLATFORM_TABLES",
    "SCHEMA_STATEMENTS",
    "create_schema",
    "is_captures_table",
]

CAPTURES_TABLE = "pages_analytics"
PLATFORM_TABLES = PRODUCT_NAMES - {"pages"}
"""The tables that the statements make, without their view."""

_VIEW = "CREATE VIEW IF NOT EXISTS pages AS SELECT * FROM pages_analytics"
SCHEMA_STATEMENTS = (
    """
CREATE TABLE IF NOT EXISTS pages_analytics (
    url VARCHAR,
    urlkey VARCHAR,
    domain VARCHAR,
    tld VARCHAR,
    captured_at TIMESTAMP,
    status_code SMALLINT,
    mime_type VARCHAR,
    content_length BIGINT,
    digest VARCHAR,
    source VARCHAR,
    title VARCHAR,
    language VARCHAR,
    word_count INTEGER,
    quality_score DOUBLE,
    project_id VARCHAR,
    created_at TIMESTAMP DEFAULT current_localtimestamp(),
    filename VARCHAR,
    "offset" BIGINT,
    repaired VARCHAR
)
""",
    """
CREATE TABLE IF NOT EXISTS user_metrics (
    user_id VARCHAR,
    metric VARCHAR,
    value DOUBLE,
    recorded_at TIMESTAMP DEFAULT current_localtimestamp()
)
""",
    _VIEW,
)

_LATER_COLUMNS = {"filename": "VARCHAR", "offset": "BIGINT", "repaired": "VARCHAR"}
"""Columns of captures that tables made by an earlier build lack."""
_COLUMNS = """
SELECT column_name FROM duckdb_columns()
WHERE database_name = current_database() AND schema_name = 'main' AND table_name = $table
"""
_IS_TABLE = """
SELECT 1 FROM duckdb_tables()
WHERE database_name = current_database() AND schema_name = 'main' AND table_name = $table
"""


def is_captures_table(table: str) -> bool:
    """Whether ``table`` or ``schema.table`` names the table of captures."""
    try:
        parts = parse_table_name(table)
    except ValueError:
        return False
    whole = tuple(map(folded, parts))
    return whole in ((CAPTURES_TABLE,), ("main", CAPTURES_TABLE))


def create_schema(session: SqlSession) -> None:
    """Make the platform's tables where they are missing, and the columns that they lack."""
    for statement in SCHEMA_STATEMENTS:
        session.execute(statement)
    table = {"table": CAPTURES_TABLE}
    there = {str(row[0]).lower() for row in session.execute(_COLUMNS, table)}
    missing = {name: type_ for name, type_ in _LATER_COLUMNS.items() if name not in there}
    if not missing or not session.execute(_IS_TABLE, table):
        return
    for name, type_ in missing.items():
        session.execute(f'ALTER TABLE {CAPTURES_TABLE} ADD COLUMN "{name}" {type_}')
    session.execute(_VIEW.replace("VIEW IF NOT EXISTS", "OR REPLACE VIEW"))
