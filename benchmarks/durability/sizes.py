"""How long a first copy, a small change, a restore and a verification take, by size of the database."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from tests.server import Server, environment

__all__ = ["SizeResult", "measure_size"]

_ROWS_PER_GB = 21_800_000
_FILL = """INSERT INTO captures SELECT
    'https://example' || (hash(range) % 5000) || '.org/' || md5(range::VARCHAR),
    TIMESTAMP '2020-01-01' + INTERVAL (range % 100000000) SECOND,
    (200 + hash(range) % 300)::SMALLINT, (hash(range + 1) % 1000000)::INTEGER,
    md5((range + 7)::VARCHAR) FROM range({first}, {end})"""


@dataclass
class SizeResult:
    """Seconds and bytes."""

    database_bytes: int
    first_sync: float
    replica_bytes: int
    change_bytes: int
    """What 1 % more rows add to the database file and its log."""
    change_sync: float
    change_shipped: int
    restore: float
    restore_verified: float
    cp_gzip: float
    cp_gzip_bytes: int
    gunzip: float
    export: float
    export_bytes: int


def measure_size(directory: Path, gigabytes: float, settings: dict[str, str]) -> SizeResult:
    """Measure one size; needs about four times its space."""
    data = directory / "data"
    data.mkdir(parents=True)
    database = data / "test.db"
    rows = _build(database, gigabytes)
    size = database.stat().st_size
    cp_gzip, stored, gunzip = _copy_and_compress(database, directory)
    export, exported = _export(database, directory / "export")
    with Server(data, **settings) as server, server.client() as client:
        first_sync = _until_caught_up(client.get)
        shipped = client.get("/replication").json()["store"]["shipped_bytes"]
        answer = client.post(
            "/query",
            json={
                "query": _FILL.format(first=rows, end=rows + rows // 100),
                "timeout_seconds": 300,
            },
        )
        assert answer.status_code == 200, answer.text
        change_sync = _until_caught_up(client.get)
        report = client.get("/replication").json()
        server.stop()
    change_bytes = database.stat().st_size - size
    restored = directory / "restored.db"
    timed = []
    for verify in ("none", "full"):
        started = time.monotonic()
        result = run_cli_long(
            data, "restore", "--output", str(restored), "--verify", verify, "--json", **settings
        )
        timed.append(time.monotonic() - started)
        assert verify == "none" or result["rows"] == rows + rows // 100
        restored.unlink()
    return SizeResult(
        size,
        first_sync,
        shipped,
        change_bytes,
        change_sync,
        report["store"]["shipped_bytes"] - shipped,
        *timed,
        cp_gzip,
        stored,
        gunzip,
        export,
        exported,
    )


def run_cli_long(directory: Path, *arguments: str, **settings: str) -> dict[str, Any]:
    """Run a command that may take minutes; return its JSON."""
    done = subprocess.run(
        ["chronoduck", *arguments],
        env=environment(directory, **settings),
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _build(database: Path, gigabytes: float) -> int:
    rows = int(_ROWS_PER_GB * gigabytes)
    with duckdb.connect(str(database)) as connection:
        connection.execute("SET preserve_insertion_order = false; SET memory_limit = '4GB'")
        connection.execute(
            "CREATE TABLE captures (url VARCHAR, captured_at TIMESTAMP, status SMALLINT, "
            "length INTEGER, digest VARCHAR)"
        )
        connection.execute(_FILL.format(first=0, end=rows))
        connection.execute("CHECKPOINT")
    database.chmod(0o640)
    return rows


def _until_caught_up(get: Callable[[str], Any]) -> float:
    """Return the seconds until everything that is committed now is in the replica."""
    since = datetime.now(UTC)
    while True:
        caught_up = get("/replication").json()["caught_up_at"]
        if caught_up is not None and datetime.fromisoformat(caught_up) > since:
            return (datetime.now(UTC) - since).total_seconds()
        time.sleep(0.05)


def _copy_and_compress(database: Path, directory: Path) -> tuple[float, int, float]:
    """What the operations guide did: ``cp``, then ``gzip``; and the way back."""
    copy = directory / "copy.db"
    started = time.monotonic()
    shutil.copyfile(database, copy)
    subprocess.run(["gzip", copy], check=True)
    seconds = time.monotonic() - started
    stored = copy.with_name("copy.db.gz")
    size = stored.stat().st_size
    started = time.monotonic()
    subprocess.run(["gunzip", stored], check=True)
    back = time.monotonic() - started
    copy.unlink()
    return seconds, size, back


def _export(database: Path, directory: Path) -> tuple[float, int]:
    started = time.monotonic()
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"EXPORT DATABASE '{directory}' (FORMAT parquet, COMPRESSION zstd)")
    seconds = time.monotonic() - started
    size = sum(path.stat().st_size for path in directory.iterdir())
    shutil.rmtree(directory)
    return seconds, size
