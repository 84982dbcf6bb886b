"""Writers and DDL over HTTP, kill -9 of anything at any time: a model knows every acknowledged row.

``CHRONODUCK_STORM_SEEDS`` sets how many seeds run (2), ``CHRONODUCK_STORM_KILLS`` their kills (4).
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pytest

from tests.fault.test_replica_crashes import replicator_of
from tests.patience import PATIENCE_SECONDS
from tests.server import Server, run_cli

pytestmark = pytest.mark.slow
SEEDS = int(os.environ.get("CHRONODUCK_STORM_SEEDS", "2"))
KILLS = int(os.environ.get("CHRONODUCK_STORM_KILLS", "4"))
WRITERS = 3
_COUNTS = "SELECT writer, number, count(*) FROM log GROUP BY ALL ORDER BY ALL"
_KINDS = ("server", "server", "replicator", "everything")


def rows_of(number: int) -> int:
    """Return how many rows a transaction inserts: one, some in the WAL, or a bulk past the WAL."""
    return 125_000 if number % 17 == 0 else 2_000 if number % 4 == 0 else 1


@dataclass
class Model:
    """What was acknowledged, and what ended without an answer."""

    acknowledged: dict[int, set[int]] = field(default_factory=dict)
    uncertain: dict[int, set[int]] = field(default_factory=dict)
    ddl: int = 0
    kills: Counter[str] = field(default_factory=Counter)

    def check(self, rows: list[Any]) -> dict[str, int]:
        """Compare with what is there; return figures, all of which but ``found`` must be 0."""
        found: dict[int, set[int]] = {}
        torn = 0
        doubled = 0
        for writer, number, count in rows:
            found.setdefault(writer, set()).add(number)
            doubled += count > rows_of(number)
            torn += count < rows_of(number)
        lost = sum(
            len(numbers - found.get(writer, set())) for writer, numbers in self.acknowledged.items()
        )
        unknown = sum(
            len(numbers - self.acknowledged[writer] - self.uncertain[writer])
            for writer, numbers in found.items()
        )
        return {"lost": lost, "doubled": doubled, "torn": torn, "unknown": unknown}


class Storm:
    """A service, its writers, and one who kills."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.server = Server(
            directory,
            DUCKDB_REPLICA_URL=directory / "replica",
            DUCKDB_REPLICA_INTERVAL="50ms",
            DUCKDB_CHECKPOINT_COMMITS="150",
            DUCKDB_SHADOW_ENABLED="true",
        )
        self.model = Model()
        self.stopping = threading.Event()

    def write(self, writer: int) -> None:
        acknowledged = self.model.acknowledged[writer] = set()
        uncertain = self.model.uncertain[writer] = set()
        number = 0
        while not self.stopping.is_set():
            number += 1
            text = (
                f"INSERT INTO log (writer, number) SELECT {writer}, {number} "
                f"FROM range({rows_of(number)})"
            )
            status = self.post(text)
            if status == 200:
                acknowledged.add(number)
            else:  # no answer, or one that does not say that nothing happened
                uncertain.add(number)
                time.sleep(0.05)

    def alter(self) -> None:
        """Change what DuckDB 1.5 could not replay, beside the writers."""
        name = 0
        while not self.stopping.is_set():
            name += 1
            for text in (
                f"ALTER TABLE log ADD COLUMN c{name} INTEGER DEFAULT (2 + {name})",
                f"CREATE OR REPLACE TABLE side AS SELECT range AS a FROM range({name * 100})",
                "CREATE INDEX IF NOT EXISTS side_a ON side (a)",
                "INSERT INTO side SELECT range FROM range(1000000, 1125000)",
                "INSERT INTO side VALUES (-1)",
                f"ALTER TABLE log DROP COLUMN c{name}",
                f"CREATE SCHEMA s{name}",
                f"CREATE TYPE s{name}.mood AS ENUM ('a', 'b')",
                "CHECKPOINT",
            ):
                self.model.ddl += self.post(text) == 200
                if self.stopping.wait(0.05):
                    break

    def post(self, text: str) -> int:
        try:
            with self.server.client() as client:
                return client.post("/query", json={"query": text}).status_code
        except (httpx2.TransportError, OSError):
            return 0

    def wait_for_progress(self, count: int) -> None:
        """Wait until so many more transactions were acknowledged."""
        target, end = self.acknowledged() + count, time.monotonic() + PATIENCE_SECONDS
        while self.acknowledged() < target:
            assert time.monotonic() < end, "nothing is acknowledged any more"
            time.sleep(0.02)

    def acknowledged(self) -> int:
        return sum(len(numbers) for numbers in self.model.acknowledged.values())

    def kill_something(self) -> None:
        kind = self.random.choice(_KINDS)
        self.model.kills[kind] += 1
        with suppress(AssertionError, ProcessLookupError, OSError):
            if kind == "server":
                os.kill(self.server.server_pid, signal.SIGKILL)
            elif kind == "replicator":
                os.kill(replicator_of(self.server), signal.SIGKILL)
        if kind == "everything":
            self.server.__exit__()  # kills, and closes its end of the pipe
            self.server.start()
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while self.post("SELECT 1") != 200:
            assert time.monotonic() < end, "the service does not come back"
            assert self.server.process.poll() is None, "the supervisor ended"
            time.sleep(0.1)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_storm_with_kills_loses_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    storm = Storm(tmp_path, seed)
    model = storm.model
    with storm.server as server:
        server.query("CREATE TABLE log (writer INTEGER, number INTEGER)")
        threads = [
            *(threading.Thread(target=storm.write, args=(n,)) for n in range(WRITERS)),
            threading.Thread(target=storm.alter),
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in range(KILLS):
                storm.wait_for_progress(storm.random.randint(5, 40))
                time.sleep(storm.random.uniform(0.0, 0.3))
                storm.kill_something()
            storm.wait_for_progress(5)
        finally:
            storm.stopping.set()
            for thread in threads:
                thread.join()
        storm.wait_until_it_answers()
        with server.client() as client:
            answer = client.post("/query", json={"query": _COUNTS, "max_rows": 1_000_000}).json()
            # A stop does not wait for a replicator that was just killed: the rest is in the files.
            end = time.monotonic() + PATIENCE_SECONDS
            while client.get("/replication").json()["state"] != "following":
                assert time.monotonic() < end, "the replicator does not come back"
                time.sleep(0.1)
        served = model.check(answer["data"])
        assert server.stop() == 0
    restored = run_cli(
        tmp_path,
        *("restore", "--output", str(tmp_path / "restored.db"), "--verify", "full"),
        DUCKDB_REPLICA_URL=tmp_path / "replica",
    )
    assert restored.returncode == 0, restored.stderr
    with duckdb.connect(str(tmp_path / "restored.db"), read_only=True) as connection:
        replica = model.check(connection.execute(_COUNTS).fetchall())
    print(
        f"seed {seed}: {storm.acknowledged()} acknowledged, {model.ddl} DDL, kills {dict(model.kills)}, ",
        end="",
    )
    print(f"served {served}, restored {replica}")
    assert served == replica == {"lost": 0, "doubled": 0, "torn": 0, "unknown": 0}
