"""A store that fails, lags, forgets to answer and cuts bodies, while the service writes and prunes."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chronoduck.replication.envelope import new_key
from tests.fault.test_replica_crashes import replicator_of
from tests.faulty_s3 import Fault, FaultyS3
from tests.patience import PATIENCE_SECONDS
from tests.s3_server import S3Server
from tests.server import Server, lose_disk, run_cli

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("CHRONODUCK_S3_FAULTS_SEED", "1"))
SECONDS = float(os.environ.get("CHRONODUCK_S3_FAULTS_SECONDS", "16"))
"""Of each storm."""
FAULT_SECONDS = 1.0
PAUSE_SECONDS = 0.02
"""Between two writes."""
LOST_DISKS = int(os.environ.get("CHRONODUCK_S3_FAULTS_DISKS", "1"))
MANY = 30_000
"""Rows of an insert that writes blocks of its own."""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket("replicas")
        yield server


class Storm:
    """Writes numbers, switches faults, and remembers what was acknowledged and called caught up."""

    def __init__(self, server: Server, proxy: FaultyS3, choice: random.Random, first: int) -> None:
        self.server = server
        self.proxy = proxy
        self.choice = choice
        self.attempted = first
        self.acknowledged: dict[int, datetime] = {}
        self.caught_up: datetime | None = None
        self.errors: set[str] = set()
        self.notices: set[str] = set()
        self.retention: set[str] = set()

    def run(self, seconds: float) -> None:
        """Write at least so long, under one fault after the other; end with all processes killed.

        A slow machine needs more time until each fault happened and retention deleted something.
        """
        over = threading.Event()
        threads = [
            threading.Thread(target=work, args=(over,)) for work in (self._switch, self._look)
        ]
        for thread in threads:
            thread.start()
        try:
            end = time.monotonic() + seconds
            self._write_while(lambda: time.monotonic() < end)
            patience = time.monotonic() + PATIENCE_SECONDS
            self._write_while(lambda: self.missing() and time.monotonic() < patience)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        replicator = replicator_of(self.server)
        self.server.kill()
        with suppress(ProcessLookupError):
            os.kill(replicator, signal.SIGKILL)  # it would ship the rest

    def missing(self) -> list[str]:
        """Return what has not happened yet."""
        faults = set(Fault) - {Fault.NONE} - set(self.proxy.happened)
        return [fault.value for fault in faults] + ["a deletion"] * (self.proxy.deleted == 0)

    def _write_while(self, goes_on: Callable[[], object]) -> None:
        with self.server.client() as client:
            while goes_on():
                self.attempted += 1
                rows = rows_of(self.attempted)
                text = f"INSERT INTO t SELECT {self.attempted}, hash(i) FROM range({rows}) r(i)"
                answer = client.post("/query", json={"query": text})
                assert answer.status_code == 200, answer.text
                self.acknowledged[self.attempted] = datetime.now(UTC)
                time.sleep(PAUSE_SECONDS)

    def _switch(self, over: threading.Event) -> None:
        faults = list(Fault)
        self.choice.shuffle(faults)
        for number, fault in enumerate(itertools.cycle(faults)):
            self.proxy.fault = fault
            if number == len(faults):
                with suppress(ProcessLookupError):  # the next one begins with a comparison
                    os.kill(replicator_of(self.server), signal.SIGKILL)
            if over.wait(FAULT_SECONDS):
                return

    def _look(self, over: threading.Event) -> None:
        with self.server.client() as client:
            while not over.wait(0.1):
                self._note(client.get("/replication").json())

    def _note(self, report: dict[str, Any]) -> None:
        self.errors.add(report["error"])
        self.notices.add(report["notice"])
        self.retention.add(report["retention_error"])
        if report["caught_up_at"]:
            self.caught_up = datetime.fromisoformat(report["caught_up_at"])

    def promised(self) -> set[int]:
        """Return what was acknowledged before the moment up to which the replica has everything."""
        assert self.caught_up is not None, self.errors
        return {number for number, when in self.acknowledged.items() if when < self.caught_up}


def rows_of(number: int) -> int:
    return MANY if number % 9 == 0 else 1


def settings(s3: S3Server, proxy: FaultyS3, key: str) -> dict[str, str]:
    return {
        **s3.environment,
        "DUCKDB_REPLICA_URL": f"s3://replicas/{'encrypted' if key else 'plain'}",
        "DUCKDB_REPLICA_ENDPOINT": f"http://127.0.0.1:{proxy.port}",
        "DUCKDB_REPLICA_INTERVAL": "100ms",
        "DUCKDB_REPLICA_DETAIL": "2s",
        "DUCKDB_REPLICA_RETENTION": "2s",
        "DUCKDB_REPLICA_ENCRYPTION_KEY": key,
        "DUCKDB_CHECKPOINT_COMMITS": "12",
    }


def recover(data: Path, given: dict[str, str]) -> dict[int, int]:
    """Lose the disk, recover, and return how many rows each number has."""
    lose_disk(data)
    data.mkdir()
    recovered = run_cli(data, "recover", "--json", **given)
    assert recovered.returncode == 0, recovered.stderr
    rows = run_cli(
        data,
        *("query", "SELECT a, count(*) FROM t GROUP BY a", "--json", "--max-rows", "1000000"),
        **given,
    )
    assert rows.returncode == 0, rows.stderr
    return dict(json.loads(rows.stdout)["data"])


@pytest.mark.parametrize("key", ["", new_key()], ids=["plain", "encrypted"])
def test_nothing_that_the_replica_called_caught_up_is_lost(
    s3: S3Server, tmp_path: Path, key: str
) -> None:
    choice = random.Random(SEED)
    data = tmp_path / "data"
    data.mkdir()
    kept: set[int] = set()
    attempted = 0
    with FaultyS3(s3.port, share=0.4, seed=SEED) as proxy:
        given = settings(s3, proxy, key)
        for lost_disk in range(LOST_DISKS):
            proxy.fault = Fault.NONE
            with Server(data, **given) as server:
                server.query("CREATE TABLE IF NOT EXISTS t (a INTEGER, b UBIGINT)")
                storm = Storm(server, proxy, choice, attempted)
                storm.run(SECONDS / LOST_DISKS)
            proxy.fault = Fault.NONE
            attempted = storm.attempted
            print(
                f"disk {lost_disk}: {len(storm.acknowledged)} acknowledged, "
                f"{len(storm.promised())} promised, {storm.errors}, {storm.notices}"
            )
            verified = run_cli(data, "verify", given["DUCKDB_REPLICA_URL"], **given)
            assert verified.returncode == 0, verified.stdout + verified.stderr
            found = recover(data, given)
            assert kept | storm.promised() <= set(found)
            assert all(count == rows_of(number) for number, count in found.items())
            assert max(found, default=0) <= attempted
            kept = set(found)
            assert not storm.missing()
        print(dict(proxy.happened), f"{proxy.deleted} deletions")
