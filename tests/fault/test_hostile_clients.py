"""Strangers who send too much, too slowly, too often or for ever, while another client is served."""

from __future__ import annotations

import contextlib
import gzip
import json
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.fault.normal_client import NormalClient
from tests.patience import PATIENCE_SECONDS
from tests.server import Server

pytestmark = pytest.mark.slow

HOSTILE = "127.0.0.2"
"""Another address than the client's: Linux has all of 127/8."""
Attack = Callable[[Server], None]
API = b"/api/v1/duckdb"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    needed = 6_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"needs {needed} open files; this machine allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    limits = {
        "DUCKDB_HTTP_HEADER_TIMEOUT": "4",
        "DUCKDB_HTTP_KEEP_ALIVE": "10",
        "DUCKDB_HTTP_MAX_CONNECTIONS": "1200",
        "DUCKDB_HTTP_MAX_CONNECTIONS_PER_CLIENT": "1500",
        "DUCKDB_HTTP_CONNECTION_RATE_PER_CLIENT": "1500",
        "DUCKDB_MAX_UPLOAD_SIZE": "200MB",
    }
    with Server(tmp_path_factory.mktemp("hostile"), **limits) as started:
        yield started
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(server: Server) -> socket.socket:
    return socket.create_connection(
        ("127.0.0.1", server.port), timeout=PATIENCE_SECONDS, source_address=(HOSTILE, 0)
    )


def open_files(server: Server) -> int:
    return len(list(Path(f"/proc/{server.server_pid}/fd").iterdir()))


def end(connection: socket.socket) -> bytes:
    """Return what the server says until it closes, however it does."""
    answer = b""
    with contextlib.suppress(OSError):
        while piece := connection.recv(65536):
            answer += piece
    connection.close()
    return answer


def head(server: Server, *headers: str, path: str = "/query", token: bool = True) -> bytes:
    lines = [f"POST /api/v1/duckdb{path} HTTP/1.1", "Host: x", *headers]
    if token:
        lines.append(f"Authorization: Bearer {server.token}")
    return "\r\n".join([*lines, "", ""]).encode()


def slowloris(server: Server) -> None:
    """500 connections, a byte of a header each now and then; each is told off or closed."""
    slow = [connect(server) for _ in range(500)]
    for connection in slow:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
    still_open = list(slow)
    give_up = time.monotonic() + PATIENCE_SECONDS
    while still_open and time.monotonic() < give_up:
        for connection in list(still_open):
            try:
                connection.sendall(b"a")
            except OSError:
                still_open.remove(connection)
        time.sleep(0.2)
    assert not still_open
    answers = [end(connection) for connection in slow]
    assert sum(b" 408 " in answer for answer in answers) > 250


def slow_bodies(server: Server) -> None:
    """200 bodies that begin and stop, with lengths and in chunks without end."""
    waiting = []
    for number in range(200):
        connection = connect(server)
        kind = "Transfer-Encoding: chunked" if number % 2 else "Content-Length: 1000"
        connection.sendall(head(server, kind) + b"5\r\nabc")
        waiting.append(connection)
    assert all(b" 408 " in end(connection) for connection in waiting)


def idle_connections(server: Server) -> None:
    """1,000 connections that do nothing, and 1,000 more that push those out."""
    for _ in range(2):
        idle = [connect(server) for _ in range(1000)]
        assert open_files(server) < 1200 + 200
        assert all(end(connection) == b"" for connection in idle)


def large_bodies(server: Server) -> None:
    """Bodies of 100 MB, with and without a token, announced or in chunks."""
    block = b" " * 1_000_000
    for number in range(8):
        is_chunked, token = number % 2 == 1, number % 4 < 2
        kind = "Transfer-Encoding: chunked" if is_chunked else "Content-Length: 100000000"
        connection = connect(server)
        sent = 0
        with contextlib.suppress(OSError):
            connection.sendall(head(server, kind, token=token))
            for _ in range(100):
                connection.sendall(b"f4240\r\n" + block + b"\r\n" if is_chunked else block)
                sent += len(block)
        answer = end(connection)
        assert (b" 413 " if token else b" 401 ") in answer[:20], (number, answer)
        assert sent < 100_000_000, "it was read to the end"


def compressed_bombs(server: Server) -> None:
    """A gigabyte of spaces in a megabyte: refused as JSON, and not put on the disk as an upload."""
    bomb = gzip.compress(b"n,m\n" + b"1,2\n" * 1000 + b" " * 1_000_000_000, 1)
    small = gzip.compress(b'{"query": "SELECT 1"}' + b" " * 100_000_000, 9)
    with server.client() as client:
        for encoding in ("gzip", "zstd", "br"):
            answer = client.post("/query", content=small, headers={"Content-Encoding": encoding})
            assert answer.status_code == 415
        assert client.post("/query", content=small).status_code == 422
        for encoding in ({"Content-Encoding": "gzip"}, {}):
            sent = client.post("/tables/bomb/rows?source=a.csv", content=bomb, headers=encoding)
            last = json.loads(sent.text.splitlines()[-1])
            assert last["event"] == "error"
            assert "decompressed" in last["error"]["detail"]
    left = sum(path.stat().st_size for path in (server.directory / "temp").rglob("*"))
    assert left < 10_000_000


def deep_json(server: Server) -> None:
    """JSON that is 10,000 deep."""
    bodies = [
        b'{"query": "SELECT ?", "params": [' + b"[" * 10_000 + b"]" * 10_000 + b"]}",
        b'{"query": "SELECT ?", "params": [' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"]}",
        b"[" * 10_000,
    ]
    with server.client() as client:
        for path in ("/query", "/batch", "/explain", "/backups"):
            for body in bodies:
                assert client.post(path, content=body).status_code == 422


def header_floods(server: Server) -> None:
    """Headers, lines and trailers without end."""
    heads = [
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
        b"GET /",
        head(server, "Transfer-Encoding: chunked") + b"0\r\n",
        head(server, "Transfer-Encoding: chunked") + b"1;",
    ]
    flood = b"X-Header: 0123456789\r\n" * 4000
    line = b"x" * 100_000
    for beginning in heads * 10:
        connection = connect(server)
        piece = flood if beginning.endswith(b"\n") else line
        with contextlib.suppress(OSError):
            connection.sendall(beginning)
            for _ in range(50):
                connection.sendall(piece)
        assert end(connection)[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 400")


def rubbish_and_pipelines(server: Server) -> None:
    """What is no HTTP, what is two requests in one, and thousands of requests in one go."""
    live = b"GET " + API + b"/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    for data in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100_000,
        b"SSH-2.0-x\r\n",
        head(server, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + live,
        head(server, "Transfer-Encoding: xchunked") + b"0\r\n\r\n" + live,
        live * 5000,
    ):
        for _ in range(20):
            connection = connect(server)
            with contextlib.suppress(OSError):
                connection.sendall(data)
            assert b'"alive"' not in end(connection)


ATTACKS: list[Attack] = [
    slowloris,
    slow_bodies,
    idle_connections,
    large_bodies,
    compressed_bombs,
    deep_json,
    header_floods,
    rubbish_and_pipelines,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_others_are_served_and_nothing_stays(
    server: Server, attack: Attack, record_property: Callable[[str, object], None]
) -> None:
    normal = NormalClient(server)
    normal.start()
    while normal.served < 20:
        assert normal.is_alive()
        time.sleep(0.05)
    files_before, memory_before = open_files(server), server.resident_mb()
    served_before = normal.served
    try:
        attack(server)
        memory_after = server.resident_mb()
    finally:
        normal.finish()
    assert not normal.failures, normal.failures[:3]
    assert normal.served > served_before
    for name, value in (
        ("served", normal.served - served_before),
        ("longest_seconds", round(normal.longest_seconds, 3)),
        ("memory_mb", (memory_before, memory_after)),
        ("files", (files_before, open_files(server))),
    ):
        record_property(name, value)
        print(name, value)
    assert memory_after - memory_before < 100
    give_up = time.monotonic() + PATIENCE_SECONDS
    while open_files(server) > files_before + 5:
        assert time.monotonic() < give_up, "connections are left"
        time.sleep(0.2)
    health = httpx2.get(f"{server.url}/api/v1/duckdb/health").json()
    assert health["status"] == "healthy", health
    assert health["queue"]["running"] == 0
