"""``make bench-sync``: writes ``benchmarks/SYNC.md``."""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console

from benchmarks.peer_engine import peer_environment
from benchmarks.report import describe_machine
from chronoduck.assembly import DuckDBService
from chronoduck.settings import load_settings
from tests.postgres import PostgresServer, SourceDatabase, postgres_or_skip

console = Console(highlight=False)
FILE = """
[source.platform]
dsn_env = "BENCH_DSN"
[sync.whole]
source = "platform"
table = "pages"
target = "whole"
mode = "full"
[sync.growing]
source = "platform"
table = "pages"
target = "growing"
key = ["id"]
cursor = "updated_at"
deletes = "key-diff"
[sync.captured]
source = "platform"
table = "pages"
target = "captured"
mode = "cdc"
key = ["id"]
"""
TABLE = """
CREATE TABLE pages (
    id bigint, url text, capture_time timestamptz, status int, mime text, length bigint, title text,
    language text, word_count int, quality_score float8, digest text, project_id int,
    updated_at timestamptz
);
INSERT INTO pages SELECT i, 'https://example' || i % 5000 || '.com/path/' || i,
    timestamptz '2020-01-01' + i * interval '3 s', CASE WHEN i % 20 = 0 THEN 404 ELSE 200 END,
    CASE WHEN i % 3 = 0 THEN 'text/html' ELSE 'application/pdf' END, i * 7919 % 1000000,
    'Title number ' || i, CASE WHEN i % 2 = 0 THEN 'en' ELSE 'de' END, i % 3000, i % 1000 / 1000.0,
    md5(i::text), i % 50, timestamptz '2024-01-01' + i * interval '1 s'
FROM generate_series(1::bigint, {rows}) i;
ALTER TABLE pages ADD PRIMARY KEY (id);
CREATE INDEX ON pages (updated_at);
VACUUM ANALYZE pages;
ALTER ROLE reader REPLICATION;
CREATE PUBLICATION chronoduck_captured FOR TABLE pages (id);
"""
COLUMNS = """url, capture_time, status, mime, length, title, language, word_count, quality_score, digest,
    project_id"""
CHANGES = """
UPDATE pages SET title = title || '!', updated_at = now() WHERE id % 100 = {number};
DELETE FROM pages WHERE id % 100 = 50 + {number};
INSERT INTO pages SELECT {rows} + ({number} + 1) * {rows} / 100 + id / 100, {columns}, now()
FROM pages WHERE id % 100 = 80 AND id <= {rows};
"""
"""Of 1 % of the rows each; an insert has the values of a row that is there."""


@dataclass
class Figures:
    """Seconds of each round, and what the reading process took at most."""

    rows: int
    whole: list[float] = field(default_factory=list)
    extension: list[float] = field(default_factory=list)
    growing: list[float] = field(default_factory=list)
    captured: list[float] = field(default_factory=list)
    changed: int = 0
    equal: bool = False
    reader_mb: float = 0.0

    @property
    def ratio(self) -> float:
        return statistics.median(self.extension) / statistics.median(self.whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    measured = []
    with postgres_or_skip() as server:
        for index, rows in enumerate(arguments.rows):
            measured.append(asyncio.run(_measure(server, f"bench{index}", rows, arguments.rounds)))
            console.print(measured[-1])
            Path("benchmarks/SYNC.md").write_text(_page(measured, arguments.rounds))


async def _measure(server: PostgresServer, name: str, rows: int, rounds: int) -> Figures:
    source = server.create_database(name)
    source.sql(TABLE.format(rows=rows))
    os.environ["BENCH_DSN"] = source.dsn
    figures = Figures(rows)
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "sync.toml").write_text(FILE)
        settings = load_settings(
            database_path=place / "data" / "bench.db",
            temp_directory=place / "temp",
            sync_file=place / "sync.toml",
            ballast_size=0,
        )
        async with DuckDBService(settings) as service:
            await _run(service, "growing", figures)
            await _run(service, "captured", figures)
            for number in range(rounds):
                figures.whole.append(await _run(service, "whole", figures))
                await service.execute_query("DROP TABLE whole")
                figures.extension.append(_extension(place / f"{number}.db", "copy", "pages"))
                await _change(service, source, number, figures)
        figures.equal = all(
            _extension(settings.database_path, "compare", name) == 0
            for name in ("growing", "captured")
        )
    return figures


async def _change(
    service: DuckDBService, source: SourceDatabase, number: int, figures: Figures
) -> None:
    """Update, delete and add 1 % of the rows each, and have them follow in both ways."""
    source.sql(CHANGES.format(number=number, rows=figures.rows, columns=COLUMNS))
    figures.growing.append(await _run(service, "growing", figures))
    figures.captured.append(await _run(service, "captured", figures))
    last = (await (await service.parts()).syncs.describe())[2]["last"]
    figures.changed = last["added"] + last["changed"] + last["deleted"]


async def _run(service: DuckDBService, name: str, figures: Figures) -> float:
    started = time.perf_counter()
    job = (await service.parts()).syncs.begin(name)
    while not job.has_ended:
        await (await service.parts()).jobs.wait(job, 0.1)
        for child in psutil.Process().children():
            resident = child.memory_info().rss if child.is_running() else 0
            figures.reader_mb = max(figures.reader_mb, resident / 1e6)
    assert job.error is None, job.error
    await service.execute_query("CHECKPOINT")
    return time.perf_counter() - started


def _extension(file: Path, task: str, table: str) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sync.extension", file, task, table],
        env=peer_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def _page(measured: list[Figures], rounds: int) -> str:
    lines = [
        "# Syncs from PostgreSQL, measured\n",
        "Made by `make bench-sync`.\n",
        f"Machine: {describe_machine()}, load {os.getloadavg()[2]:.1f} at the end; PostgreSQL 15 on the "
        "same CPUs.\n",
        f"A table of 13 columns (170 bytes a row), the medians of {rounds} rounds, in turn. A sync is "
        "measured as a user sees it: with the start of the reading process, in one transaction, to the "
        "end of a checkpoint. DuckDB's extension runs `CREATE TABLE AS` in a process that is there "
        "already, and a checkpoint.\n",
        "| rows | full sync, s | rows/s | DuckDB's extension, s | rows/s | ratio | incremental and "
        "key-diff, s | cdc, s | rows changed | equal | reader's memory, MB |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for each in measured:
        whole, extension = statistics.median(each.whole), statistics.median(each.extension)
        lines.append(
            f"| {each.rows:,} | {whole:.1f} | {each.rows / whole:,.0f} | {extension:.1f} "
            f"| {each.rows / extension:,.0f} | {each.ratio:.2f} | {statistics.median(each.growing):.1f} "
            f"| {statistics.median(each.captured):.1f} | {each.changed:,} "
            f"| {'row for row' if each.equal else 'NO'} | {each.reader_mb:.0f} |"
        )
    lines.append(
        "\nThe ratio is the rows/s of a full sync over those of the extension. Both changing syncs "
        "follow 1 % of the rows by UPDATE, 1 % by DELETE and 1 % by INSERT; equal means that in the end "
        "no row is in the source and not in the targets, or the other way round (EXCEPT ALL).\n"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
