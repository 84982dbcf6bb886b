"""Somebody fills the volume while another one writes a row now and then: only the first one stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.fault.volumes import free, small_volume
from tests.patience import PATIENCE_SECONDS
from tests.server import Server

pytestmark = pytest.mark.slow
FLOOR = 120_000_000
FILL = (
    "INSERT INTO mine SELECT md5(i::VARCHAR) || md5((i + {0})::VARCHAR) FROM range(100000) t(i)",
    "INSERT INTO mine SELECT md5(i::VARCHAR) || md5((i + 1)::VARCHAR) FROM range({0}) t(i)",
    "CREATE TABLE other{0} AS SELECT hash(i), hash(i + 1), hash(i + 2) FROM range({0}) t(i)",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with small_volume(tmp_path / "volume", 700) as volume:
        temp = tmp_path / "temp"
        with Server(volume, DUCKDB_DISK_FLOOR="120MB", DUCKDB_TEMP_DIRECTORY=temp) as started:
            started.query("CREATE TABLE mine (a VARCHAR)")
            started.query("CREATE TABLE ledger (n BIGINT)")
            yield started


def client_of(server: Server, name: str) -> httpx2.Client:
    with server.client() as admin:
        key = admin.post("/keys", json={"name": name, "role": "writer"}).json()["key"]
    return httpx2.Client(
        base_url=f"{server.url}/api/v1/duckdb",
        headers={"Authorization": f"Bearer {key}"},
        timeout=PATIENCE_SECONDS,
    )


def repeated(
    client: httpx2.Client, over: threading.Event, texts: Callable[[int], str]
) -> list[str]:
    """Send statements until it is over; return their codes, "" for success."""
    codes: list[str] = []
    while not over.is_set():
        answer = client.post("/query", json={"query": texts(len(codes))})
        codes.append("" if answer.status_code == 200 else answer.json()["code"])
        time.sleep(0.02)
    return codes


@pytest.mark.parametrize("fill", FILL)
def test_who_fills_the_volume_stops_and_others_write_on(server: Server, fill: str) -> None:
    over = threading.Event()
    codes: list[str] = []
    with (
        client_of(server, "eve") as eve,
        client_of(server, "bob") as bob,
    ):
        assert bob.post("/query", json={"query": "INSERT INTO ledger VALUES (-1)"}).is_success
        thread = threading.Thread(
            target=lambda: codes.extend(
                repeated(eve, over, lambda number: fill.format(3_000_000 + number))
            )
        )
        thread.start()
        end = time.monotonic() + PATIENCE_SECONDS
        left = [free(server.directory)]

        def write() -> None:
            """Bob's row: whatever Eve does, it is taken."""
            answer = bob.post("/query", json={"query": f"INSERT INTO ledger VALUES ({len(left)})"})
            assert answer.status_code == 200, answer.text
            left.append(free(server.directory))

        try:
            while True:
                write()
                refused = eve.post("/query", json={"query": "INSERT INTO mine VALUES ('x')"})
                if refused.status_code == 507:
                    break
                assert time.monotonic() < end, "nobody stops it"
            assert "you may not write for now" in refused.json()["detail"]
            for _ in range(100):
                write()
        finally:
            over.set()
            thread.join()
        assert set(codes) == {"", "disk_floor"}
        assert min(left) > FLOOR // 2, "what it still wrote while it was stopped passed the floor"
        counted = bob.post("/query", json={"query": "SELECT count(*) FROM ledger"}).json()
        assert counted["data"] == [[len(left)]]

        for table in ("mine", *(f"other{3_000_000 + number}" for number in range(len(codes)))):
            dropped = eve.post("/query", json={"query": f"DROP TABLE IF EXISTS {table}"})
            assert dropped.is_success, dropped.text
        while not eve.post(
            "/query", json={"query": "CREATE OR REPLACE TABLE small (a INT)"}
        ).is_success:
            assert time.monotonic() < end, "it may not write again"
            time.sleep(0.1)
