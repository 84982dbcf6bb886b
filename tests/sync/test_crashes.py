"""kill -9 of the service at random moments of syncs: at the end every row is there, once, as it is.

``CHRONODUCK_SYNC_CRASH_ROUNDS`` sets how many (10), ``CHRONODUCK_CRASH_SEED`` which moments.
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
ROUNDS = int(os.environ.get("CHRONODUCK_SYNC_CRASH_ROUNDS", "10"))
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
"""
SETUP = """
CREATE TABLE items (id bigint PRIMARY KEY, v text, n int, updated_at timestamptz DEFAULT now());
INSERT INTO items SELECT i, md5(i::text), 0 FROM generate_series(1, 20000) i;
"""
CHANGE = """
INSERT INTO items SELECT i, md5(i::text), 0
FROM generate_series((SELECT max(id) + 1 FROM items), (SELECT max(id) + 1500 FROM items)) i;
UPDATE items SET n = n + 1, updated_at = now() WHERE id % 37 = {0};
DELETE FROM items WHERE id % 997 = {0};
"""
ROWS = "SELECT id, v, n, {0} AS t FROM {1} ORDER BY id"
DUCK = "strftime(updated_at, '%Y-%m-%d %H:%M:%S.%f')"
POSTGRES = "to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"


def wait_until_ready(server: Server) -> None:
    for _ in range(200):
        with suppress(httpx2.TransportError), server.client() as client:
            if client.get("/health/ready").status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError("the server did not come back")


def test_no_row_is_skipped_or_doubled_by_kills(source: SourceDatabase, tmp_path: Path) -> None:
    dice = random.Random(SEED)
    source.sql(SETUP)
    file = tmp_path / "sync.toml"
    file.write_text(FILE)
    stop = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        number = 0
        try:
            while not stop.is_set():
                source.sql(CHANGE.format(number % 37))
                number += 1
                time.sleep(0.2)
        except BaseException as error:
            failures.append(error)
            raise

    writer = threading.Thread(target=write)
    server = Server(tmp_path, DUCKDB_SYNC_FILE=file)
    interrupted = 0
    writer.start()
    try:
        for _ in range(ROUNDS):
            with server:
                doubled = "SELECT count(*) - count(DISTINCT id) FROM growing"
                tables = {row[0] for row in server.query("SHOW TABLES")}
                assert "growing" not in tables or server.query(doubled) == [[0]]
                with server.client() as client:
                    begun = client.post("/sync", json={}).json()
                    assert len(begun["jobs"]) == 2
                    time.sleep(dice.uniform(0.5, 4.0))
                    states = {each["state"] for each in client.get("/jobs").json()}
                interrupted += "running" in states
                if dice.random() < 0.5:
                    server.kill_server()
                    wait_until_ready(server)  # the supervisor has put another in its place
    finally:
        stop.set()
        writer.join()
    assert not failures
    assert interrupted
    with server:
        with server.client() as client:
            for job in client.post("/sync", json={}).json()["jobs"]:
                while (job := client.get(f"/jobs/{job['id']}").json())["state"] == "running":
                    time.sleep(0.1)
                assert job["state"] == "succeeded", job
        expected = source.sql(ROWS.format(POSTGRES, "items"))
        for table in ("growing", "whole"):
            with server.client() as client:
                query = {"query": ROWS.format(DUCK, table), "max_rows": 10_000_000}
                rows = client.post("/query", json=query).json()["data"]
            assert [[str(cell) for cell in row] for row in rows] == expected
        assert list((tmp_path / "temp").glob("*/spool/sync-*")) == []
