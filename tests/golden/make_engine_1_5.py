"""Makes ``engine-1.5.5.tar.xz``: what a service on DuckDB 1.5.5 leaves. Run it with that engine alone."""

from __future__ import annotations

import asyncio
import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from chronoduck.assembly import DuckDBService
from chronoduck.backup.take import take_backup
from chronoduck.settings import BackupSettings, ReplicaSettings, load_settings

ARCHIVE = Path(__file__).parent / "engine-1.5.5.tar.xz"
KEY = "AGE-SECRET-KEY-1YDQDWGXZWM3UWHP366XL0AQTMQDK60EKK7D8LEU9D8GUW5V7EFJQPHV6G9"
"""Of these files alone."""

BEFORE_THE_CHECKPOINT = """
CREATE SCHEMA s
CREATE TYPE mood AS ENUM ('calm', 'wild')
CREATE SEQUENCE numbers START 7
CREATE TABLE pages (id BIGINT PRIMARY KEY, url VARCHAR, made TIMESTAMP, price DECIMAL(18, 3), tags VARCHAR[], place STRUCT(a INTEGER, b VARCHAR), m mood, raw BLOB, big HUGEINT, flags MAP(VARCHAR, INTEGER))
INSERT INTO pages SELECT i, 'https://example.org/' || i, TIMESTAMP '2026-01-01' + INTERVAL (i) SECOND, i / 8, ['x', 'y' || i % 7], {'a': i % 100, 'b': 'b' || i}, CASE WHEN i % 2 = 0 THEN 'calm' ELSE 'wild' END, ('r' || i)::BLOB, i::HUGEINT * 1000000007, MAP {'k': i % 5} FROM range(3000) r(i)
CREATE TABLE s.looked_up (k VARCHAR, v INTEGER)
INSERT INTO s.looked_up SELECT 'k' || range, range FROM range(2000)
CREATE INDEX by_k ON s.looked_up (k)
CREATE VIEW newest AS SELECT id, url FROM pages WHERE made > TIMESTAMP '2026-01-01 00:40:00' ORDER BY made DESC
CREATE MACRO half(a) AS a / 2
DELETE FROM pages WHERE id % 11 = 0
CHECKPOINT
""".strip().splitlines()
IN_THE_WAL = """
INSERT INTO pages BY NAME SELECT i AS id, 'https://example.net/' || i AS url, nextval('numbers')::DECIMAL(18, 3) AS price FROM range(5000, 5100) r(i)
UPDATE pages SET price = price + 1 WHERE id % 3 = 0
DELETE FROM pages WHERE id BETWEEN 100 AND 199
INSERT INTO s.looked_up VALUES ('k1', -1), ('new', 9)
CREATE TABLE late (a INTEGER, b VARCHAR)
INSERT INTO late SELECT range, 'l' || range FROM range(50)
CREATE OR REPLACE VIEW totals AS SELECT count(*) AS n, sum(price) AS p FROM pages
""".strip().splitlines()
ALTERED = """
CREATE TABLE defaults (a INTEGER, made TIMESTAMP DEFAULT now(), CHECK (length(a::VARCHAR) < 9))
INSERT INTO defaults (a) SELECT range FROM range(100)
CHECKPOINT
INSERT INTO defaults (a) VALUES (1000)
ALTER TABLE defaults ADD COLUMN n INTEGER
INSERT INTO defaults (a, n) VALUES (1001, 5)
""".strip().splitlines()
"""DuckDB 1.5.5 cannot replay this WAL itself."""
QUESTIONS = {
    "pages": "SELECT count(*), sum(id), sum(price)::VARCHAR, sum(big)::VARCHAR, max(url), min(made)::VARCHAR, count(DISTINCT place.b), sum(flags['k']), bit_xor(hash(raw::VARCHAR) % 1000000)::BIGINT IS NOT NULL FROM pages",
    "wild": "SELECT m::VARCHAR, count(*), sum(len(tags)) FROM pages GROUP BY ALL ORDER BY ALL",
    "by index": "SELECT v FROM s.looked_up WHERE k = 'k1' ORDER BY v",
    "by key": "SELECT url, price::VARCHAR FROM pages WHERE id = 5050",
    "looked up": "SELECT count(*), sum(v) FROM s.looked_up",
    "late": "SELECT count(*), max(b) FROM late",
    "view": "SELECT count(*), min(url) FROM newest",
    "totals": "SELECT n, p::VARCHAR FROM totals",
    "macro": "SELECT half(9)",
}
QUESTIONS_OF_ALTERED = {"defaults": "SELECT count(*), sum(a), sum(n) FROM defaults"}


async def answers(service: DuckDBService, questions: dict[str, str]) -> dict[str, Any]:
    """Return the rows of each question."""
    return {
        name: [list(row) for row in (await service.execute_query(sql)).data]
        for name, sql in questions.items()
    }


async def _make(directory: Path, name: str, key: str | None) -> dict[str, Any]:
    scratch = Path(tempfile.mkdtemp())
    replica = directory / f"replica-{name}"
    settings = load_settings(
        database_path=scratch / "golden.db",
        temp_directory=scratch / "temp",
        ballast_size=0,
        replica=ReplicaSettings(url=str(scratch / "replica"), encryption_key=key, interval=0.02),
        storage_version="v1.0.0",  # what such services wrote, before there was a setting
        backup=BackupSettings(dir=directory / "backups", schedule=""),
    )
    async with DuckDBService(settings) as service:
        for sql in BEFORE_THE_CHECKPOINT:
            await service.execute_query(sql)
        for sql in IN_THE_WAL:
            await service.execute_query(sql)
            await asyncio.sleep(0.2)
        found = await answers(service, QUESTIONS)
        await asyncio.sleep(1)
        ignored = shutil.ignore_patterns("lease", ".lock")  # they name this machine
        shutil.copytree(scratch / "replica", replica, ignore=ignored)
        if key is None:
            _copy(settings.database_path, directory / "database.db")
    if key is None:
        take_backup(settings, (), lambda step, done, total: None)
    return found


async def _make_altered(directory: Path) -> dict[str, Any]:
    scratch = Path(tempfile.mkdtemp())
    settings = load_settings(
        database_path=scratch / "golden.db",
        temp_directory=scratch / "temp",
        ballast_size=0,
        storage_version="v1.0.0",
    )
    async with DuckDBService(settings) as service:
        for sql in ALTERED:
            await service.execute_query(sql)
        found = await answers(service, QUESTIONS_OF_ALTERED)
        _copy(settings.database_path, directory / "altered.db")
    return found


def _copy(database: Path, target: Path) -> None:
    """Copy file and WAL of a running service, which writes nothing now: as after a kill."""
    from tests.engines import run_in

    code = "import shutil, sys\nfor end in ('', '.wal'): shutil.copy(sys.argv[1] + end, sys.argv[2] + end)"
    run_in(duckdb.__version__, code, database, target)  # a copy here would drop DuckDB's lock


def main() -> None:
    """Make the archive."""
    assert duckdb.__version__ == "1.5.5", duckdb.__version__
    directory = Path(tempfile.mkdtemp())
    expected = asyncio.run(_make(directory, "plain", None))
    assert asyncio.run(_make(directory, "encrypted", KEY)) == expected
    expected |= asyncio.run(_make_altered(directory))
    (directory / "expected.json").write_text(json.dumps(expected, indent=1))
    with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
        archive.add(directory, arcname=".")


if __name__ == "__main__":
    main()
