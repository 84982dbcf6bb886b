"""kill -9 of the service at random moments of syncs: at the end every row is there, once, as it is.

``CHRONODUCK_SYNC_CRASH_ROUNDS`` sets how many (12), ``CHRONODUCK_CRASH_SEED`` which moments.
"""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from tests.postgres import SourceDatabase
from tests.server import Server

pytestmark = pytest.mark.slow
ROUNDS = int(os.environ.get("CHRONODUCK_SYNC_CRASH_ROUNDS", "12"))
SEED = int(os.environ.get("CHRONODUCK_CRASH_SEED", "20261125"))
FILE = """
[source.platform]
dsn_env = "TEST_PLATFORM_DSN"
fetch_bytes = 65536
batch_rows = 1000

[sync.growing]
source = "platform"
table = "items"
target = "growing"
key = ["id"]
cursor = "updated_at"
deletes = "key-diff"
overlap = "2s"

[sync.whole]
source = "platform"
table = "items"
target = "whole"
mode = "full"

[sync.captured]
source = "platform"
table = "items"
target = "captured"
mode = "cdc"
key = ["id"]

[sync.accounts]
source = "platform"
table = "accounts"
target = "accounts"
mode = "cdc"
key = ["id"]
"""
TABLES = ("growing", "whole", "captured")
SETUP = """
ALTER ROLE reader REPLICATION;
CREATE SEQUENCE ids;
CREATE TABLE items (
    id bigint PRIMARY KEY DEFAULT nextval('ids'), v text, n int, updated_at timestamptz DEFAULT now());
INSERT INTO items SELECT nextval('ids'), md5(i::text), 0 FROM generate_series(1, 20000) i;
CREATE TABLE accounts (id int PRIMARY KEY, n int);
INSERT INTO accounts SELECT i, 0 FROM generate_series(1, 100) i;
CREATE PUBLICATION chronoduck_captured FOR TABLE items;
CREATE PUBLICATION chronoduck_accounts FOR TABLE accounts;
"""
CHANGES = {
    "insert": "INSERT INTO items SELECT nextval('ids'), repeat(md5(i::text), i % 90), 0 "
    "FROM generate_series(1, 1500) i",
    "update": "UPDATE items SET n = n + 1, updated_at = clock_timestamp() "
    "WHERE id % 2 = {writer} AND id % 37 = {number}",
    "delete": "DELETE FROM items WHERE id % 2 = {writer} AND id % 997 < {number}",
    "change keys": "UPDATE items SET id = 1000000000 + nextval('ids') * 2 + {writer}, "
    "updated_at = clock_timestamp() "
    "WHERE id % 2 = {writer} AND id % 211 = {number}",
    "truncate": "TRUNCATE items; INSERT INTO items SELECT nextval('ids'), 'again', 1 "
    "FROM generate_series(1, 5000)",
    "move": "UPDATE accounts SET n = n + 1 WHERE id = {writer} * 50 + {number}; SELECT pg_sleep(0.05);"
    "UPDATE accounts SET n = n - 1 WHERE id = {writer} * 50 + 1 + {number}",
}
"""What transactions are made of; each of the two writers has its own half of the rows."""
WEIGHTS = (6, 6, 4, 4, 1, 8)
ROWS = "SELECT id, v, n, {0} AS t FROM {1} ORDER BY id"
DUCK = "strftime(updated_at, '%Y-%m-%d %H:%M:%S.%f')"
POSTGRES = "to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"


def wait_until_ready(server: Server) -> None:
    for _ in range(2_400):
        with suppress(httpx2.TransportError), server.client() as client:
            if client.get("/health/ready").status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError("the server did not come back")


class Writers:
    """Two threads that write transactions at random, at the same time."""

    def __init__(self, source: SourceDatabase) -> None:
        self._source = source
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in (0, 1)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self._failures

    def _write(self, writer: int) -> None:
        chance = random.Random(SEED + writer)
        try:
            while not self._stop.is_set():
                chosen = chance.choices(list(CHANGES), WEIGHTS, k=chance.randint(1, 3))
                # A truncation waits for the other's transaction: as the first it holds nothing yet.
                chosen.sort(key=lambda each: each != "truncate")
                number = chance.randint(1, 36)
                parts = [CHANGES[each].format(writer=writer, number=number) for each in chosen]
                end = chance.choice(["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"])
                self._source.sql(f"BEGIN; {'; '.join(parts)}; {end}")
                time.sleep(0.1)
        except BaseException as error:
            self._failures.append(error)
            raise


def assert_whole(server: Server) -> None:
    """Check what holds at any moment: no row twice, and never half of a transaction."""
    there = {row[0] for row in server.query("SHOW TABLES")}
    for table in there.intersection(TABLES):
        assert server.query(f"SELECT count(*) - count(DISTINCT id) FROM {table}") == [[0]]
    if "accounts" in there:
        assert server.query("SELECT sum(n)::INT FROM accounts") == [[0]]


def test_no_row_is_skipped_or_doubled_by_kills(source: SourceDatabase, tmp_path: Path) -> None:
    dice = random.Random(SEED)
    source.sql(SETUP)
    file = tmp_path / "sync.toml"
    file.write_text(FILE)
    server = Server(tmp_path, DUCKDB_SYNC_FILE=file)
    interrupted = 0
    with Writers(source):
        for _ in range(ROUNDS):
            with server:
                assert_whole(server)
                with server.client() as client:
                    begun = client.post("/sync", json={}).json()
                    assert len(begun["jobs"]) == 4
                    time.sleep(dice.uniform(0.5, 4.0))
                    states = {each["state"] for each in client.get("/jobs").json()}
                interrupted += "running" in states
                if dice.random() < 0.5:
                    server.kill_server()
                    wait_until_ready(server)  # the supervisor has put another in its place
    assert interrupted
    with server:
        with server.client() as client:
            for job in client.post("/sync", json={}).json()["jobs"]:
                while (job := client.get(f"/jobs/{job['id']}").json())["state"] == "running":
                    time.sleep(0.1)
                assert job["state"] == "succeeded", job
        expected = source.sql(ROWS.format(POSTGRES, "items"))
        for table in TABLES:
            with server.client() as client:
                query = {"query": ROWS.format(DUCK, table), "max_rows": 10_000_000}
                rows = client.post("/query", json=query).json()["data"]
            assert [[str(cell) for cell in row] for row in rows] == expected
        accounts = "SELECT id, n FROM accounts ORDER BY id"
        assert [[str(cell) for cell in row] for row in server.query(accounts)] == source.sql(
            accounts
        )
        kept = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
        assert source.sql(kept) == [["2"]]
        assert list((tmp_path / "temp").glob("*/spool/sync-*")) == []
