"""The platform's tables: one row a capture, one row a user's metric."""

from __future__ import annotations

__all__ = ["CAPTURES_TABLE", "PLATFORM_TABLES", "SCHEMA_STATEMENTS"]

CAPTURES_TABLE = "pages_analytics"
PLATFORM_TABLES = frozenset({CAPTURES_TABLE, "user_metrics"})
"""The tables that the statements make."""

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
    created_at TIMESTAMP DEFAULT current_localtimestamp()
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
    "CREATE VIEW IF NOT EXISTS pages AS SELECT * FROM pages_analytics",
)
