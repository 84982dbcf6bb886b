"""A replica that moves to another host: another address, another path of the database, another writer."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fault.test_replica_crashes import replicator_of, wait_for_the_replica
from tests.server import Server, lose_disk, run_cli

pytestmark = pytest.mark.slow
ROWS = "SELECT count(*), sum(a)::BIGINT FROM t"


def test_a_replica_continues_on_another_host(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    settings = {"DUCKDB_REPLICA_INTERVAL": "100ms", "DUCKDB_CHECKPOINT_COMMITS": "10"}
    first = tmp_path / "store" / "replica"
    with Server(old, **settings, DUCKDB_REPLICA_URL=first) as server:
        server.query("CREATE TABLE t AS SELECT range AS a FROM range(1000)")
        for number in range(25):
            server.query(f"INSERT INTO t VALUES ({number})")
        wait_for_the_replica(server)
        replicator = replicator_of(server)
        server.kill()  # its lease is never given back
        with suppress(ProcessLookupError):
            os.kill(replicator, signal.SIGKILL)
    lose_disk(old)
    moved = tmp_path / "elsewhere" / "replica"
    shutil.copytree(first, moved)
    for path in moved.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))  # as a copy by another clock leaves it
    given = {**settings, "DUCKDB_REPLICA_URL": moved, "DUCKDB_DATABASE_PATH": new / "other.db"}
    recovered = run_cli(new, "recover", "--json", **given)
    assert recovered.returncode == 0, recovered.stderr
    server = Server(new, **given)
    server.start(seconds=90)  # the dead writer's lease is watched for 30 s
    try:
        assert server.query(ROWS) == [[1025, 999 * 500 + 300]]
        for number in range(15):
            server.query(f"INSERT INTO t VALUES ({number})")
        wait_for_the_replica(server)
        assert server.stop() == 0
    finally:
        server.__exit__()
    verified = run_cli(new, "verify", str(moved), **given)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    lose_disk(new)
    new.mkdir()
    assert run_cli(new, "recover", **given).returncode == 0
    with Server(new, **given) as server:
        assert server.query(ROWS) == [[1040, 999 * 500 + 300 + 105]]
        assert server.stop() == 0
