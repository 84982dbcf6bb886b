"""A replica in a real S3 server: followed, restored, and with connections that fail half of the time."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.flaky_proxy import FlakyProxy
from tests.patience import PATIENCE_SECONDS
from tests.s3_server import S3Server
from tests.server import Server, lose_disk, run_cli

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket("replicas")
        yield server


def lose_and_recover(directory: Path, settings: dict[str, str]) -> list[list[int]]:
    """Delete everything that is on the disk, recover, and return rows and sum of the table."""
    data = directory / "data"
    lose_disk(data)
    data.mkdir()
    recovered = run_cli(data, "recover", "--json", **settings)
    assert recovered.returncode == 0, recovered.stderr
    rows = run_cli(data, "query", "SELECT count(*), sum(a)::BIGINT FROM t", "--json")
    result: list[list[int]] = json.loads(rows.stdout)["data"]
    return result


def test_a_lost_disk_comes_back_from_s3(s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    settings = {
        **s3.environment,
        "DUCKDB_REPLICA_URL": "s3://replicas/plain",
        "DUCKDB_REPLICA_INTERVAL": "100ms",
        "DUCKDB_CHECKPOINT_COMMITS": "20",
    }
    with Server(tmp_path / "data", **settings) as server:
        server.query("CREATE TABLE t AS SELECT range AS a FROM range(300000)")
        for number in range(50):
            server.query(f"INSERT INTO t VALUES ({number})")
        assert server.stop() == 0
    assert lose_and_recover(tmp_path, settings) == [[300_050, 299_999 * 150_000 + 49 * 25]]
    drill = run_cli(tmp_path / "data", "drill", "--json", **settings)
    assert drill.returncode == 0, drill.stderr
    verified = run_cli(tmp_path / "data", "verify", "s3://replicas/plain", **settings)
    assert verified.returncode == 0, verified.stderr


def test_half_of_the_requests_fail_and_nothing_is_lost(s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with FlakyProxy(s3.port, failing=0.0) as proxy:
        settings = {
            **s3.environment,
            "DUCKDB_REPLICA_URL": "s3://replicas/flaky",
            "DUCKDB_REPLICA_ENDPOINT": f"http://127.0.0.1:{proxy.port}",
            "DUCKDB_REPLICA_INTERVAL": "100ms",
            "DUCKDB_CHECKPOINT_COMMITS": "20",
        }
        with Server(tmp_path / "data", **settings) as server:
            server.query("CREATE TABLE t (a BIGINT)")
            proxy.failing = 0.5
            for number in range(200):
                server.query(f"INSERT INTO t VALUES ({number})")
                time.sleep(0.02)
            written = datetime.now(UTC)
            end = time.monotonic() + PATIENCE_SECONDS
            with server.client() as client:
                while True:
                    report = client.get("/replication").json()
                    caught_up = report["caught_up_at"]
                    if caught_up and datetime.fromisoformat(caught_up) > written:
                        break
                    assert time.monotonic() < end, report
                    time.sleep(0.2)
            server.kill()
        assert proxy.cut > 5
        proxy.failing = 0.0
        assert lose_and_recover(tmp_path, settings) == [[200, 199 * 100]]


def test_a_store_that_is_not_there_keeps_nobody_from_working(tmp_path: Path) -> None:
    settings = {
        "DUCKDB_REPLICA_URL": "s3://replicas/none",
        "DUCKDB_REPLICA_ENDPOINT": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "very-secret-key",
    }
    created = run_cli(tmp_path, "query", "CREATE TABLE t AS SELECT 1 AS a", "--json")
    assert created.returncode == 0
    with Server(tmp_path, **settings) as server:
        server.query("INSERT INTO t VALUES (2)")
        with server.client() as client:
            end = time.monotonic() + PATIENCE_SECONDS
            while (health := client.get("/health").json())["status"] != "degraded":
                assert time.monotonic() < end, health
                time.sleep(0.2)
            assert health["components"]["replica"]["status"] == "degraded"
            report = client.get("/replication").text
        status = run_cli(tmp_path, "replication", "status", **settings)
        assert status.returncode == 69
        assert "very-secret-key" not in status.stdout + status.stderr + report


def test_a_store_that_never_answers_delays_the_replica_not_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:  # the kernel accepts
        settings = {
            "DUCKDB_REPLICA_URL": "s3://replicas/silent",
            "DUCKDB_REPLICA_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        }
        created = run_cli(tmp_path, "query", "CREATE TABLE t AS SELECT 1 AS a", "--json")
        assert created.returncode == 0
        with Server(tmp_path, **settings) as server:
            server.query("INSERT INTO t VALUES (2)")
            with server.client() as client:
                report = client.get("/replication").json()
            assert report["state"] == "failing"
            assert "did not answer" in report["error"]
            server.kill()  # a stop would try to ship for as long as its grace lasts
