"""Clients that leave, that are too many, that read slowly; results that break."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path

import httpx2
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import Server

pytestmark = pytest.mark.slow

ENDLESS = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
LARGE = "SELECT range, repeat('x', 200) AS text FROM range(20000000)"


def raw_request(
    server: Server, body: dict[str, object], path: str = "/query", version: str = "1.1"
) -> bytes:
    data = json.dumps(body).encode()
    return (
        f"POST /api/v1/duckdb{path} HTTP/{version}\r\nHost: x\r\n"
        f"Authorization: Bearer {server.token}\r\nContent-Length: {len(data)}\r\n\r\n"
    ).encode() + data


def wait_until(condition, seconds: float = PATIENCE_SECONDS) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds
        time.sleep(0.02)
    return time.monotonic() - started


@pytest.mark.parametrize("sql", [ENDLESS, LARGE])
def test_a_client_that_leaves_ends_its_statement_within_a_second(tmp_path: Path, sql: str) -> None:
    with Server(tmp_path) as server, server.client() as admin:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(
                raw_request(server, {"query": sql, "max_rows": 20_000_000, "timeout_seconds": 60})
            )
            wait_until(lambda: admin.get("/queries").json())
        assert wait_until(lambda: not admin.get("/queries").json()) < 1.5
        wait_until(lambda: admin.get("/health").json()["connection_pool"]["in_use"] == 0)


def test_a_client_that_does_not_read_keeps_nothing_beyond_its_deadline(tmp_path: Path) -> None:
    with Server(tmp_path) as server, server.client() as admin:
        before = server.resident_mb()
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(
                raw_request(server, {"query": LARGE, "max_rows": 20_000_000, "timeout_seconds": 2})
            )
            wait_until(lambda: admin.get("/queries").json())
            wait_until(lambda: admin.get("/health").json()["connection_pool"]["in_use"] == 0)
        # A few batches are under way at most: 4 GB of result, some tens of MB in memory.
        assert server.resident_mb() - before < 600


@pytest.mark.parametrize("name", ["json", "csv", "arrow", "parquet"])
def test_a_result_that_breaks_is_never_taken_for_a_complete_one(tmp_path: Path, name: str) -> None:
    with Server(tmp_path) as server, server.client() as admin:
        question = admin.build_request("POST", "/query", params={"format": name}, json=_large(name))
        response = admin.send(question, stream=True)
        with pytest.raises(httpx2.RemoteProtocolError):
            for number, _ in enumerate(response.iter_raw()):
                if number == 3:
                    _cancel_all(server)
        response.close()


def test_ndjson_says_in_its_last_line_that_it_broke(tmp_path: Path) -> None:
    with Server(tmp_path) as server, server.client() as admin:
        with admin.stream(
            "POST", "/query", params={"format": "ndjson"}, json=_large("ndjson")
        ) as response:
            line = ""
            for number, line in enumerate(response.iter_lines()):  # noqa: B007 - the last one counts
                if number == 1000:
                    _cancel_all(server)
        end = json.loads(line)["_chronoduck"]
        assert end["complete"] is False
        assert end["error"]["code"] == "statement_cancelled"


def _large(name: str) -> dict[str, object]:
    body: dict[str, object] = {"query": LARGE, "timeout_seconds": 60}
    return {**body, "max_rows": 20_000_000} if name == "json" else body


def _cancel_all(server: Server) -> None:
    with server.client() as other:
        for running in other.get("/queries").json():
            other.delete(f"/queries/{running['id']}")


def test_http_1_0_gets_a_length_because_it_could_not_tell_a_cut_body(tmp_path: Path) -> None:
    with Server(tmp_path) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        body = {"query": "SELECT repeat('x', 100) FROM range(200000)", "max_rows": 200_000}
        client.sendall(raw_request(server, body, version="1.0"))
        answer = b""
        while piece := client.recv(1 << 16):
            answer += piece
    head, _, document = answer.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert length == len(document) > 4_000_000
    assert json.loads(document)["row_count"] == 200_000


def test_a_thousand_clients_at_once_are_served_or_told_to_come_again(tmp_path: Path) -> None:
    sql = "SELECT count(*) FROM range(30000000)"

    async def ask_all(server: Server) -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=1000)
        async with httpx2.AsyncClient(
            base_url=server.url,
            headers={"Authorization": f"Bearer {server.token}"},
            timeout=PATIENCE_SECONDS,
            limits=limits,
        ) as client:
            return await asyncio.gather(
                *(client.post("/api/v1/duckdb/query", json={"query": sql}) for _ in range(1000))
            )

    with Server(tmp_path, DUCKDB_QUEUE_SIZE=200) as server:
        server.query(sql)
        before = server.resident_mb()
        responses = asyncio.run(ask_all(server))
        after = server.resident_mb()
        server.query("SELECT 1")
    statuses = [response.status_code for response in responses]
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 200
    refused = [response for response in responses if response.status_code == 503]
    assert refused
    assert all(1 <= int(response.headers["retry-after"]) <= 30 for response in refused)
    codes = {response.json()["code"] for response in refused}
    assert codes <= {"queue_full", "too_many_connections"}
    assert after - before < 150


def test_sigterm_lets_a_running_statement_finish(tmp_path: Path) -> None:
    sql = "SELECT sum(sqrt(a.range + b.range)) FROM range(20000) a, range(4000) b"
    with Server(tmp_path) as server:

        async def ask_and_stop() -> httpx2.Response:
            async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
                headers = {"Authorization": f"Bearer {server.token}"}
                task = asyncio.create_task(
                    client.post(
                        f"{server.url}/api/v1/duckdb/query", headers=headers, json={"query": sql}
                    )
                )
                while not (
                    await client.get(f"{server.url}/api/v1/duckdb/queries", headers=headers)
                ).json():
                    await asyncio.sleep(0.01)
                server.process.terminate()
                return await task

        response = asyncio.run(ask_and_stop())
        assert response.status_code == 200
        assert server.process.wait(PATIENCE_SECONDS) == 0  # a second signal would end it at once
    assert not (tmp_path / "test.db.wal").exists()
