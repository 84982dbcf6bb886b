"""A volume that its own database has filled: writes are refused, nothing is lost, and they go on."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from tests.fault.volumes import fill, free, small_volume
from tests.patience import PATIENCE_SECONDS
from tests.server import Server, environment

pytestmark = pytest.mark.slow
MEGABYTES = 220


def insert(server: Server, number: int, rows: int) -> tuple[int, str]:
    """Insert a transaction of incompressible rows; return the answer's status and code."""
    with server.client() as client:
        answer = client.post(
            "/query",
            json={
                "query": f"INSERT INTO t SELECT {number}, hash(i + {number}) FROM range({rows}) r(i)"
            },
        )
        body = answer.json()
    return answer.status_code, str(body.get("code", ""))


def counts(server: Server) -> dict[int, int]:
    with server.client() as client:
        text = "SELECT a, count(*) FROM t GROUP BY a ORDER BY a"
        answer = client.post("/query", json={"query": text, "max_rows": 100_000}).json()
    return dict(answer["data"])


def start_again(server: Server) -> None:
    """Kill everything and start; a service below its floor answers, but never says that it is ready."""
    server.kill()
    server.__exit__()
    server.process = subprocess.Popen(
        [sys.executable, "-m", "chronoduck", "serve"],
        env=environment(server.directory, **server._settings),
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        with suppress(httpx2.TransportError):
            httpx2.get(f"{server.url}/api/v1/duckdb/health/ready")
            return
        assert server.process.poll() is None, "the server ended"
        assert time.monotonic() < end
        time.sleep(0.1)


def write_until(
    server: Server, acknowledged: dict[int, int], *, stops_at: int, rows: int
) -> list[str]:
    """Insert until so many were refused; return their codes."""
    codes: list[str] = []
    number = max(acknowledged, default=0) + 1000
    while len(codes) < stops_at and number < 100_000:
        number += 1
        status, code = insert(server, number, rows)
        if status == 200:
            acknowledged[number] = rows
        else:
            assert status in (503, 507), (status, code)
            codes.append(code)
    return codes


def test_a_database_that_fills_its_own_volume(tmp_path: Path) -> None:
    acknowledged: dict[int, int] = {}
    with small_volume(tmp_path / "volume", MEGABYTES) as volume:
        server = Server(
            volume,
            DUCKDB_TEMP_DIRECTORY=tmp_path / "temp",
            DUCKDB_DISK_FLOOR="60MB",
            DUCKDB_BALLAST_SIZE="20MB",
        )
        with server:
            server.query("CREATE TABLE t (a INTEGER, b UBIGINT)")
            other = fill(volume, leave=MEGABYTES * 500_000)
            codes = write_until(server, acknowledged, stops_at=3, rows=200_000)
            codes += write_until(server, acknowledged, stops_at=20, rows=200)
            assert len(codes) == 23
            assert sum(acknowledged.values()) > 1_000_000
            assert counts(server) == acknowledged
            # Full, and killed: the next start reads what was acknowledged.
            start_again(server)
            assert counts(server) == acknowledged
            other.unlink()
            end = time.monotonic() + PATIENCE_SECONDS
            while (status := insert(server, 99_999, 10)[0]) != 200:
                assert status in (503, 507)
                assert time.monotonic() < end, f"no write, with {free(volume):,} bytes free"
                time.sleep(0.5)
            acknowledged[99_999] = 10
            assert counts(server) == acknowledged
            server.query("CHECKPOINT")
            assert server.stop() == 0
        with server:
            assert counts(server) == acknowledged


def test_a_checkpoint_on_a_full_volume_without_floor_and_ballast(tmp_path: Path) -> None:
    """It is refused before DuckDB begins it: there it would be fatal, and no replay would fit."""
    acknowledged: dict[int, int] = {}
    with small_volume(tmp_path / "volume", MEGABYTES) as volume:
        server = Server(
            volume,
            DUCKDB_TEMP_DIRECTORY=tmp_path / "temp",
            DUCKDB_DISK_FLOOR="0",
            DUCKDB_STATEMENT_TIMEOUT="3s",
        )
        with server:
            server.query("CREATE TABLE t (a INTEGER, b UBIGINT)")
            server.query("CHECKPOINT")
            for number, rows in enumerate([200_000, 2_000, 100_000, 200, 1], start=1):
                assert insert(server, number, rows)[0] == 200
                acknowledged[number] = rows
            other = fill(volume, leave=0)
            pid = server.pid_of_owner
            with server.client() as client:
                refused = client.post("/query", json={"query": "CHECKPOINT"})
            assert (refused.status_code, refused.json()["code"]) == (507, "disk_full")
            assert counts(server) == acknowledged
            for number in (6, 7):
                status, code = insert(server, number, 200)
                assert status in (503, 504, 507), (status, code)
            assert server.pid_of_owner == pid  # nobody restarts what a restart cannot help
            other.unlink()
            end = time.monotonic() + PATIENCE_SECONDS
            while insert(server, 8, 10)[0] != 200:
                assert time.monotonic() < end
                time.sleep(0.5)
            acknowledged[8] = 10
            assert counts(server) == acknowledged
            assert server.stop() == 0
        with server:
            assert counts(server) == acknowledged


def test_a_checkpoint_that_cannot_fit_takes_no_reads_away(tmp_path: Path) -> None:
    """A DELETE of every second row has a checkpoint write the others again, without space for them."""
    with small_volume(tmp_path / "volume", 400) as volume:
        settings = {"DUCKDB_DISK_FLOOR": "25MB", "DUCKDB_SHADOW_ENABLED": "false"}
        with Server(volume, DUCKDB_TEMP_DIRECTORY=tmp_path / "temp", **settings) as server:
            server.query("CREATE TABLE small AS SELECT 42 AS answer")
            server.query(
                "CREATE TABLE hog AS SELECT i, sha256(i::VARCHAR) AS v FROM range(2000000) t(i)"
            )
            server.query("CHECKPOINT")
            fill(volume, leave=40_000_000)
            server.query("DELETE FROM hog WHERE i % 2 = 0")
            end = time.monotonic() + 8
            while time.monotonic() < end:  # the next checkpoint would be due at once
                assert server.query("SELECT answer FROM small") == [[42]]
                with server.client() as client:
                    asked = client.post("/query", json={"query": "CHECKPOINT"})
                assert asked.status_code in (200, 507), asked.text
                time.sleep(0.2)
            log = server.log_lines()
        assert not [line for line in log if line["event"] == "instance_failed"]
