"""kill -9 at any moment: what was acknowledged is there, and the service starts again healthy."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import httpx2
import pytest

from tests.server import Server

pytestmark = pytest.mark.slow

ROUNDS = 5


def captures(count: int) -> bytes:
    lines = (
        f"org,iana)/page/{n} 2014012620{n % 60:02d}{n // 60 % 60:02d} "
        f"http://www.iana.org/page/{n} text/html 200 DIGEST{n} - - {n} 2 iana.warc.gz\n"
        for n in range(count)
    )
    return (" CDX N b a m s k r M S V g\n" + "".join(lines)).encode()


def test_acknowledged_inserts_survive_a_kill(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    attempted = 0
    for round_number in range(ROUNDS):
        with Server(tmp_path) as server, server.client() as client:
            client.post("/query", json={"query": "CREATE TABLE IF NOT EXISTS t (a INTEGER)"})
            timer = threading.Timer(0.3 + 0.2 * round_number, server.kill)
            timer.start()
            try:
                while True:
                    attempted += 1
                    response = client.post(
                        "/query", json={"query": "INSERT INTO t VALUES (?)", "params": [attempted]}
                    )
                    assert response.status_code == 200
                    acknowledged.append(attempted)
            except httpx2.TransportError:
                pass
            timer.join()
    with Server(tmp_path) as server:
        found = {row[0] for row in server.query("SELECT a FROM t LIMIT 10000")}
        assert len(acknowledged) > ROUNDS
        assert set(acknowledged) <= found
        # The one statement under way at each kill may be there or not; no other is.
        assert len(found - set(acknowledged)) <= ROUNDS


def test_a_load_that_was_killed_keeps_what_it_counted_and_can_be_repeated(tmp_path: Path) -> None:
    total = 900_000
    data = captures(total)
    counted = 0
    with Server(tmp_path) as server, server.client() as client:
        try:
            with client.stream(
                "POST", "/tables/pages_analytics/rows", params={"source": "big.cdx"}, content=data
            ) as response:
                for line in response.iter_lines():
                    event = json.loads(line)
                    if event["event"] == "progress" and event["rows_added"]:
                        counted = event["rows_added"]
                        server.kill()
        except httpx2.TransportError:
            pass
    assert 0 < counted < total
    with Server(tmp_path) as server, server.client() as client:
        assert server.query("SELECT count(*) FROM pages_analytics")[0][0] >= counted
        assert client.get("/health").json()["status"] == "healthy"
        response = client.post(
            "/tables/pages_analytics/rows", params={"source": "big.cdx"}, content=data
        )
        done = json.loads(response.text.splitlines()[-1])
        assert done["event"] == "done"
        assert done["duplicates"] >= counted
        assert server.query("SELECT count(*), count(DISTINCT url) FROM pages_analytics") == [
            [total, total]
        ]
        assert list((tmp_path / "temp").rglob("chunk-*")) == []


def test_it_is_ready_again_after_a_kill(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.query("CREATE TABLE t AS FROM range(100000)")
        server.kill()
    with Server(tmp_path) as server:
        assert server.query("SELECT count(*) FROM t") == [[100_000]]
