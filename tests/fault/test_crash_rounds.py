"""Hundreds of kill -9 at random moments: every acknowledged transaction is there, and whole.

``CHRONODUCK_CRASH_ROUNDS`` sets how many (40), ``CHRONODUCK_CRASH_SEED`` which moments.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import restore_database
from tests.fault.crash_writer import rows_of, settings_for, write_until_killed
from tests.patience import PATIENCE_SECONDS
from tests.server import is_alive

pytestmark = pytest.mark.slow
ROUNDS = int(os.environ.get("CHRONODUCK_CRASH_ROUNDS", "40"))
SEED = int(os.environ.get("CHRONODUCK_CRASH_SEED", "20261124"))
_SHIPS_REST_SECONDS = 4.5
"""After a kill the replicator ships the rest for 5 s at most, by its own clock, which starts later."""
LANES = 2
"""Databases that are tortured side by side."""


class Lane:
    """One database, its replica, and what was acknowledged of it."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        (directory / "data").mkdir(parents=True)
        self.random = random.Random(seed)
        self.acknowledged: list[int] = []
        """Of the rounds that were not compared yet."""
        self.verified = 0
        """Up to here everything was compared."""
        self.verified_count: list[int] = [0, 0]
        """Transactions and rows up to there."""
        self.attempted = 0
        self.total = 0
        self.disks_lost = 0
        self.killed_at = 0.0
        self.context = multiprocessing.get_context("forkserver")

    def round(self) -> None:
        """Start, compare, write, kill."""
        fifo = self.directory / "acknowledged"
        fifo.unlink(missing_ok=True)
        os.mkfifo(fifo)
        process = self.context.Process(
            target=_child,
            args=(str(self.directory), str(fifo), self.verified, self.attempted),
        )
        process.start()
        with fifo.open() as pipe:  # its end tells that the service is dead
            first = pipe.readline()
            if not first:
                process.join(PATIENCE_SECONDS)
            assert first, f"the service did not start: its exit code is {process.exitcode}"
            hello = json.loads(first)
            self.compare(hello["old"], hello["new"])
            what = self.random.choice(["service", "service", "replicator", "both"])
            timer = threading.Timer(
                self.random.uniform(0.0, 0.7), self.kill, (process.pid, hello["replicator"], what)
            )
            timer.start()
            for line in pipe:
                if line.endswith("\n"):
                    self.acknowledged.append(int(line))
            timer.join()
        process.join()
        # The one after the last acknowledged may be there or not.
        self.attempted = max([self.attempted, *self.acknowledged]) + 1
        self.total += len(self.acknowledged)
        # A replicator that lives ships the rest; of one that was killed nobody knows how far it came.
        if what == "service" and self.random.random() < 0.15:
            self.lose_the_disk(hello["replicator"])

    def kill(self, service: int, replicator: int, what: str) -> None:
        # Before the kill: a loaded machine may take a second until this test learns of the end, and a
        # replicator that gave up meanwhile would pass for one that had shipped everything.
        self.killed_at = time.monotonic()
        with suppress(ProcessLookupError):
            if what != "service":
                os.kill(replicator, signal.SIGKILL)
            if what == "replicator":
                time.sleep(self.random.uniform(0.1, 0.5))
        os.kill(service, signal.SIGKILL)

    def compare(self, old: list[int], new: list[list[int]]) -> None:
        """Every acknowledged transaction is there and whole, and nothing else but the last one."""
        assert old == self.verified_count
        found = dict(new)
        missing = set(self.acknowledged) - set(found)
        assert not missing, f"lost: {sorted(missing)[:10]}"
        assert set(found) - set(self.acknowledged) <= set(
            range(self.verified + 1, self.attempted + 1)
        )
        assert all(count == rows_of(number) for number, count in found.items())
        self.verified_count = [
            self.verified_count[0] + len(found),
            self.verified_count[1] + sum(found.values()),
        ]
        self.verified = max([self.verified, *found])
        self.attempted = max(self.attempted, self.verified)
        self.acknowledged = []

    def lose_the_disk(self, replicator: int) -> None:
        """Let the replicator ship the rest; delete the database; restore it."""
        started = time.monotonic()
        while is_alive(replicator):
            assert time.monotonic() < started + PATIENCE_SECONDS, "the replicator does not end"
            time.sleep(0.02)
        if time.monotonic() - self.killed_at > _SHIPS_REST_SECONDS:
            return  # it gave up: what it had not shipped is in the files alone
        database = self.directory / "data" / "test.db"
        shutil.rmtree(database.parent)
        database.parent.mkdir()
        restore_database(open_archive(settings_for(self.directory)), database, verify="quick")
        with duckdb.connect(str(database), read_only=True) as connection:
            old = connection.execute(
                "SELECT count(DISTINCT a), count(*) FROM t WHERE a <= ?", [self.verified]
            ).fetchall()
            new = connection.execute(
                "SELECT a, count(*) FROM t WHERE a > ? GROUP BY a", [self.verified]
            ).fetchall()
        self.compare(list(old[0]), [list(row) for row in new])
        self.disks_lost += 1


def _child(directory: str, fifo: str, verified: int, first: int) -> None:
    write_until_killed(directory, os.open(fifo, os.O_WRONLY), verified, first)


def test_nothing_acknowledged_is_lost_however_often_it_is_killed(tmp_path: Path) -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.fault.crash_writer"])
    lanes = [Lane(tmp_path / str(number), SEED + number) for number in range(LANES)]

    def torture(lane: Lane) -> None:
        for _ in range(ROUNDS // LANES):
            lane.round()

    with ThreadPoolExecutor(LANES) as executor:
        list(executor.map(torture, lanes))
    total, lost = sum(lane.total for lane in lanes), sum(lane.disks_lost for lane in lanes)
    print(f"{ROUNDS} kills, {total:,} acknowledged transactions, {lost} disks lost")
    assert total > ROUNDS
    assert lost >= ROUNDS // 100
