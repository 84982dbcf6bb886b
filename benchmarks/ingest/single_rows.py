"""Single rows and small batches from many clients, each acknowledged when it is on the disk."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tests.server import Server

CREATE = "CREATE TABLE t (id BIGINT, url VARCHAR, score DOUBLE, seen TIMESTAMP, ok BOOLEAN)"


@dataclass(frozen=True)
class SingleRows:
    """What clients got; ``stored`` is what the table held afterwards."""

    way: str
    clients: int
    per_second: float
    """Requests."""
    rows: int
    """Of each request."""
    p50_ms: float
    p99_ms: float
    errors: int
    acknowledged: int
    stored: int
    server_cpu: float
    """CPUs that the server's process used."""


_WAYS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "rows, group commit": ("rows", 1, {}),
    "rows, group commit, a key each": ("keys", 1, {}),
    "10 rows each, group commit": ("rows", 10, {}),
    "100 rows each, group commit": ("rows", 100, {}),
    "rows, DUCKDB_INGEST_GROUPING=false": ("rows", 1, {"DUCKDB_INGEST_GROUPING": "false"}),
    "INSERT by POST query": ("sql", 1, {}),
}


def measure_single_rows(clients: int, seconds: float) -> list[SingleRows]:
    """Return the figures of every way, each on a new database."""
    return [
        _measure(name, way, rows, clients, seconds, options)
        for name, (way, rows, options) in _WAYS.items()
    ]


def _measure(
    name: str, way: str, rows: int, clients: int, seconds: float, options: dict[str, Any]
) -> SingleRows:
    with (
        tempfile.TemporaryDirectory() as directory,
        Server(Path(directory), DUCKDB_QUEUE_SIZE=1000, **options) as server,
    ):
        server.query(CREATE)
        _run(server, way, rows, clients, min(1.0, seconds))
        before = server.query("SELECT count(*) FROM t")[0][0]
        cpu = _cpu_seconds(server.server_pid)
        found = _run(server, way, rows, clients, seconds)
        cpu = (_cpu_seconds(server.server_pid) - cpu) / seconds
        stored = server.query("SELECT count(*) FROM t")[0][0] - before
    return SingleRows(
        way=name, rows=rows, clients=clients, stored=stored, server_cpu=round(cpu, 2), **found
    )


def _run(server: Server, way: str, rows: int, clients: int, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.ingest.rows_client"]
    arguments = [str(server.port), server.token, str(clients), str(seconds), way, str(rows)]
    done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def in_process_commits(seconds: float) -> float:
    """Return single-row transactions per second of DuckDB itself, by one caller."""
    with tempfile.TemporaryDirectory() as directory:
        connection = duckdb.connect(str(Path(directory) / "x.db"))
        connection.execute(CREATE)
        count, began = 0, time.perf_counter()
        while time.perf_counter() < began + seconds:
            row = [count, "https://example.com/", 1.5, "2026-01-01 00:00:00", True]
            connection.execute("INSERT INTO t VALUES (?, ?, ?, ?, ?)", row)
            count += 1
        elapsed = time.perf_counter() - began
        connection.close()
    return round(count / elapsed, 1)
