"""kill -9 of either side at random moments: at the end the index is what the query's rows are.

``CHRONODUCK_EXPORT_CRASH_ROUNDS`` sets how many (12), ``CHRONODUCK_CRASH_SEED`` which moments.
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

from tests.meilisearch import KEY, REAL_URL, Meilisearch
from tests.server import Server

pytestmark = pytest.mark.slow
ROUNDS = int(os.environ.get("CHRONODUCK_EXPORT_CRASH_ROUNDS", "12"))
SEED = int(os.environ.get("CHRONODUCK_CRASH_SEED", "20261125"))
FILE = """
[meilisearch.search]
url = "URL"
key_env = "TEST_SEARCH_KEY"
batch_size = 100_000
max_pending = 2
patience = "60s"

[index.growing]
meilisearch = "search"
query = "SELECT id, v, n, updated_at, gone FROM items WHERE id % 11 <> 0"
key = "id"
mode = "changes"
cursor = "updated_at"
deleted = "gone"
deletes = "key-diff"
overlap = "2s"

[index.whole]
meilisearch = "search"
query = "SELECT id, v, n FROM items WHERE gone IS NOT true"
key = "id"
"""
NOW = "now() AT TIME ZONE 'UTC'"
SETUP = [
    "CREATE TABLE items (id BIGINT, v VARCHAR, n INTEGER, updated_at TIMESTAMP, gone BOOLEAN)",
    f"INSERT INTO items SELECT i, md5(i::VARCHAR), 0, {NOW}, NULL FROM range(15000) r(i)",
    "CREATE VIEW top AS SELECT max(id) + 1 FROM items",
]
CHANGES = [
    f"INSERT INTO items SELECT i + (FROM top), 'more', 0, {NOW}, NULL FROM range(500) r(i)",
    f"UPDATE items SET n = n + 1, updated_at = {NOW} WHERE id % 37 = {{0}}",
    f"UPDATE items SET gone = id % 2 = 0, updated_at = {NOW} WHERE id % 101 = {{0}}",
    "DELETE FROM items WHERE id % 997 = {0}",
]
EXPECTED = {
    "growing": "SELECT id, n FROM items WHERE id % 11 <> 0 AND gone IS NOT true",
    "whole": "SELECT id, n FROM items WHERE gone IS NOT true",
}


def run_all(client: httpx2.Client) -> None:
    for job in client.post("/exports/run", json={}).json()["jobs"]:
        while (job := client.get(f"/jobs/{job['id']}").json())["state"] == "running":
            time.sleep(0.1)
        assert job["state"] == "succeeded", job


def wait_until_ready(server: Server) -> None:
    for _ in range(2_400):
        with suppress(httpx2.TransportError), server.client() as client:
            if client.get("/health/ready").status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError("the server did not come back")


def test_nothing_is_lost_doubled_or_half_seen_by_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if REAL_URL:
        pytest.skip("a Meilisearch that others may use is not killed")
    monkeypatch.setenv("TEST_SEARCH_KEY", KEY)
    dice = random.Random(SEED)
    file = tmp_path / "export.toml"
    server = Server(tmp_path, DUCKDB_EXPORT_FILE=file)
    fewest: dict[str, int] = {}
    interrupted = 0
    stop = threading.Event()
    with Meilisearch(tmp_path / "search") as search:
        file.write_text(FILE.replace("URL", search.url))

        def look() -> None:
            headers = {"Authorization": f"Bearer {KEY}"}
            with httpx2.Client(base_url=search.url, headers=headers) as client:
                while not stop.is_set():
                    for name in EXPECTED:
                        with suppress(httpx2.TransportError):
                            answer = client.get(f"/indexes/{name}/stats")
                            count = answer.json().get("numberOfDocuments", -1)
                            fewest[name] = min(count, fewest.get(name, count))

        with server:
            for sql in SETUP:
                server.query(sql)
            with server.client() as client:
                run_all(client)
            searcher = threading.Thread(target=look)
            searcher.start()
            try:
                for number in range(ROUNDS):
                    for sql in CHANGES:
                        server.query(sql.format(number))
                    with server.client() as client:
                        begun = client.post("/exports/run", json={"rebuild": number % 4 == 3})
                        assert begun.status_code == 202, begun.text
                        time.sleep(dice.uniform(0.02, 1.2))
                        states = {each["state"] for each in client.get("/jobs").json()}
                    interrupted += "running" in states
                    if number % 3 == 2:
                        search.kill()
                        search.start()
                    if number % 3 != 2 or dice.random() < 0.5:
                        server.kill_server()
                        wait_until_ready(server)  # the supervisor has put another in its place
            finally:
                stop.set()
                searcher.join()
            with server.client() as client:
                while any(each["state"] == "running" for each in client.get("/jobs").json()):
                    time.sleep(0.1)
                run_all(client)
                for name, sql in EXPECTED.items():
                    asked = {"query": sql, "max_rows": 1_000_000}
                    rows = client.post("/query", json=asked).json()["data"]
                    held = {each["id"]: each["n"] for each in search.documents(name)}
                    assert held == {row[0]: row[1] for row in rows}
                    assert search.count(f"{name}_new") == -1
    assert interrupted > ROUNDS / 2
    assert all(count > 12_000 for count in fewest.values()), fewest
    assert list((tmp_path / "temp").glob("*/spool/export-*")) == []
