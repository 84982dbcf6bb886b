"""What is measured: one table and the statements on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from benchmarks.peer_engine import PEER_FILE_VERSION

ROWS = 10_000_000
COLUMNS = "id, url, status_code, quality_score, captured_at, mime_type, content_length"
MILLION = f"SELECT {COLUMNS} FROM pages WHERE id < 1000000"


@dataclass(frozen=True)
class Workload:
    """A statement that many clients run again and again."""

    name: str
    sql: str
    clients: int
    seconds: float


WORKLOADS = (
    Workload("SELECT 1, 1 client", "SELECT 1", 1, 4),
    Workload("SELECT 1, 16 clients", "SELECT 1", 16, 6),
    Workload(
        "2 ms aggregate, 16 clients",
        "SELECT status_code, count(*) AS n, avg(content_length) AS mean FROM pages "
        "WHERE id < 300000 GROUP BY status_code",
        16,
        6,
    ),
    Workload(
        "100 ms aggregate, 16 clients",
        "SELECT status_code, mime_type, count(*) AS n, avg(quality_score) AS q FROM pages "
        "GROUP BY ALL ORDER BY n DESC",
        16,
        12,
    ),
)


def build_database(path: Path) -> None:
    """Create the 10M-row table of captures, unless it is there."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_suffix(".building")
    with duckdb.connect(str(building), config=PEER_FILE_VERSION) as connection:
        connection.execute(f"""
            CREATE TABLE pages AS SELECT
                i AS id,
                'https://example-' || (hash(i) % 5000) || '.org/archive/' || i AS url,
                [200, 200, 200, 301, 404, 500][1 + (hash(i) % 6)::INTEGER]::SMALLINT AS status_code,
                (hash(i * 7) % 1000000) / 1000000.0 AS quality_score,
                TIMESTAMP '2015-01-01' + INTERVAL 1 SECOND * (i * 20) AS captured_at,
                ['text/html', 'image/png', 'application/pdf', 'text/css'][1 + (hash(i * 3) % 4)::INTEGER]
                    AS mime_type,
                (hash(i * 11) % 500000)::BIGINT AS content_length
            FROM range({ROWS}) t(i)
        """)
    building.rename(path)
    path.chmod(0o640)
