"""kill -9 of service and replicator, loss of the disk, flipped bits: what was acknowledged comes back."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import httpx2
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import Server, is_alive, lose_disk, run_cli

pytestmark = pytest.mark.slow

ROUNDS = 8
"""Through HTTP; the many rounds are in test_crash_rounds.py."""
SEED = int(os.environ.get("CHRONODUCK_CRASH_SEED", "20261124"))


def replicator_of(server: Server) -> int:
    """Return the process id of the service's replicator."""
    children = Path(f"/proc/{server.server_pid}/task/{server.server_pid}/children").read_text()
    for pid in children.split():
        if "chronoduck.replication" in Path(f"/proc/{pid}/cmdline").read_text():
            return int(pid)
    raise AssertionError("the service has no replicator")


def insert_until_killed(server: Server, first: int, acknowledged: list[int]) -> int:
    """Insert numbers, now and then many at once, until the service is gone; return the next number."""
    number = first
    with server.client() as client:
        while True:
            number += 1
            many = 30_000 if number % 7 == 0 else 1
            try:
                answer = client.post(
                    "/query",
                    json={"query": f"INSERT INTO t SELECT {number} FROM range({many})"},
                )
            except httpx2.TransportError:
                return number
            if answer.status_code == 200:
                acknowledged.append(number)
            else:
                assert answer.status_code == 503, answer.text


def check(rows: list[list[int]], acknowledged: list[int], attempted: int) -> None:
    """Every acknowledged insert is there and whole; nothing that was not attempted is."""
    found = dict(rows)
    assert set(acknowledged) <= set(found)
    assert max(found, default=0) <= attempted
    assert all(count == (30_000 if number % 7 == 0 else 1) for number, count in found.items())


def wait_for_the_replica(server: Server) -> None:
    """Return when all that was acknowledged before the call is in the replica."""
    called = time.monotonic()
    with server.client() as client:
        while True:
            lag = client.get("/replication").json()["lag_seconds"]
            if lag is not None and lag < time.monotonic() - called:
                return
            assert time.monotonic() - called < PATIENCE_SECONDS, "the replica does not catch up"
            time.sleep(0.05)


COUNTS = "SELECT a, count(*) FROM t GROUP BY a ORDER BY a"


def settings(tmp_path: Path) -> dict[str, str]:
    return {
        "DUCKDB_REPLICA_URL": str(tmp_path / "replica"),
        "DUCKDB_REPLICA_INTERVAL": "100ms",
        "DUCKDB_CHECKPOINT_LOG_SIZE": "300KB",
    }


def test_kills_of_service_and_replicator_at_any_moment(tmp_path: Path) -> None:
    choice = random.Random(SEED)
    directory = tmp_path / "data"
    directory.mkdir()
    acknowledged: list[int] = []
    attempted = 0
    for _ in range(ROUNDS):
        with Server(directory, **settings(tmp_path)) as server:
            server.query("CREATE TABLE IF NOT EXISTS t (a INTEGER)")
            what = choice.choice(["service", "replicator", "both"])

            def kill(server: Server = server, what: str = what) -> None:
                if what != "service":
                    os.kill(replicator_of(server), signal.SIGKILL)
                    time.sleep(0.0 if what == "both" else choice.uniform(0.2, 0.8))
                server.kill()

            timer = threading.Timer(choice.uniform(0.05, 1.2), kill)
            timer.start()
            attempted = insert_until_killed(server, attempted, acknowledged)
            timer.join()
    with Server(directory, **settings(tmp_path)) as server:
        with server.client() as client:
            rows = client.post("/query", json={"query": COUNTS, "max_rows": 1_000_000}).json()
        check(rows["data"], acknowledged, attempted)
        assert server.stop() == 0
    # All of it is in the replica too.
    restored = run_cli(
        directory,
        *("restore", "--output", str(tmp_path / "restored.db"), "--verify", "full", "--json"),
        **settings(tmp_path),
    )
    assert restored.returncode == 0, restored.stderr
    out = run_cli(
        directory,
        "query",
        "-d",
        str(tmp_path / "restored.db"),
        "--json",
        COUNTS,
        "--max-rows",
        "1000000",
    )
    check(json.loads(out.stdout)["data"], acknowledged, attempted)


def test_a_lost_disk_costs_at_most_the_lag(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    acknowledged: list[int] = []
    shipped = 0
    with Server(directory, **settings(tmp_path)) as server:
        server.query("CREATE TABLE IF NOT EXISTS t (a INTEGER)")
        timer = threading.Timer(3.0, server.kill)

        def note() -> None:
            nonlocal shipped
            shipped = len(acknowledged)

        noting = threading.Timer(1.5, note)
        timer.start()
        noting.start()
        replicator = replicator_of(server)
        attempted = insert_until_killed(server, 0, acknowledged)
        timer.join()
        os.kill(replicator, signal.SIGKILL)  # it would ship the rest
    lose_disk(directory)
    directory.mkdir()
    refused = run_cli(directory, "serve", "--json", **settings(tmp_path))
    assert refused.returncode == 65
    assert "chronoduck recover" in refused.stderr
    report = run_cli(directory, "recover", "--json", **settings(tmp_path))
    assert report.returncode == 0, report.stderr
    with Server(directory, **settings(tmp_path)) as server, server.client() as client:
        rows = client.post("/query", json={"query": COUNTS, "max_rows": 1_000_000}).json()["data"]
        found = [number for number, _ in rows]
        check(rows, acknowledged[:shipped], attempted)
        # A prefix: nothing is missing between.
        assert [number for number in acknowledged if number <= max(found)] == found[
            : len([number for number in acknowledged if number <= max(found)])
        ]
        assert client.get("/health").json()["status"] == "healthy"


def test_a_second_service_is_refused_by_the_replica(tmp_path: Path) -> None:
    for name in ("data", "other"):
        (tmp_path / name).mkdir()
    with Server(tmp_path / "data", **settings(tmp_path)):
        refused = run_cli(tmp_path / "other", "serve", "--json", **settings(tmp_path))
    assert refused.returncode == 75
    assert json.loads(refused.stderr.splitlines()[-1])["error"]["code"] == "replica_in_use"


def test_a_flipped_bit_in_the_log_stops_the_start_and_recover_mends_it(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    given = {**settings(tmp_path), "DUCKDB_CHECKPOINT_LOG_SIZE": "100MB"}
    with Server(directory, **given) as server:
        server.query("CREATE TABLE t (a INTEGER)")
        for number in range(200):
            server.query(f"INSERT INTO t VALUES ({number})")
        wait_for_the_replica(server)
        replicator = replicator_of(server)
        server.kill()
        # It ships the rest before it ends.
        while is_alive(replicator):
            time.sleep(0.02)
    log = directory / "test.db.wal"
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    refused = run_cli(directory, "serve", "--json", **given)
    assert refused.returncode != 0
    assert "chronoduck recover" in refused.stderr
    assert log.read_bytes() == data
    report = run_cli(directory, "recover", "--json", **given)
    assert report.returncode == 0, report.stderr
    with Server(directory, **given) as server:
        assert server.query("SELECT count(*), sum(a) FROM t") == [[200, 19900]]
    assert (
        subprocess.run(
            ["ls", *directory.glob("test.db.corrupt-*"), *directory.glob("test.db.wal.corrupt-*")],
            check=False,
            capture_output=True,
        ).stdout.count(b"\n")
        == 2
    )
