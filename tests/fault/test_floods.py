"""Strangers who open connections without end, on a TLS port, while another client is served."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest

from tests.certificates import Certificate
from tests.fault.normal_client import NormalClient
from tests.patience import PATIENCE_SECONDS
from tests.server import Server

pytestmark = pytest.mark.slow

HOSTILE = "127.0.0.2"
"""Another address than the client's: Linux has all of 127/8."""
NEW_A_SECOND = 50
HANDSHAKES_A_SECOND = 10
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""The beginning of a TLS greeting, of which 512 bytes are announced."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("floods")
    limits = {
        "DUCKDB_HTTP_HEADER_TIMEOUT": "4",
        "DUCKDB_HTTP_CONNECTION_RATE_PER_CLIENT": NEW_A_SECOND,
        "DUCKDB_HTTP_ANONYMOUS_RATE_PER_CLIENT": HANDSHAKES_A_SECOND,
    }
    with Server(directory, **Certificate.make(directory).settings, **limits) as started:
        yield started


@pytest.fixture
def normal(server: Server) -> Iterator[NormalClient]:
    """Somebody on another address; all that it sends must be answered."""
    client = NormalClient(server, verify=False)
    client.start()
    client.wait_until_served(10)
    yield client
    client.wait_until_served(10)
    client.finish()
    assert not client.failures, client.failures[:3]


def connect(server: Server, address: str = HOSTILE) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS, (address, 0))


def refused(server: Server, why: str) -> int:
    lines = [line for line in server.log_text().splitlines() if "connections_refused" in line]
    return sum(json.loads(line).get(why, 0) for line in lines)


def test_connections_without_end_are_closed_before_anything_is_done_for_them(
    server: Server, normal: NormalClient
) -> None:
    count, began = 3_000, time.monotonic()
    for _ in range(count):
        with contextlib.suppress(OSError):
            connect(server).close()
    seconds = time.monotonic() - began
    least = count - NEW_A_SECOND * (seconds + 10)  # some of them are looked at later
    give_up = time.monotonic() + PATIENCE_SECONDS
    while refused(server, "too_many_new_connections") < least:
        assert time.monotonic() < give_up, (refused(server, "too_many_new_connections"), least)
        time.sleep(0.1)
    # Somebody of the same address who comes when it is over is served.
    with httpx2.Client(
        transport=httpx2.HTTPTransport(local_address=HOSTILE, verify=False, retries=20),
        timeout=PATIENCE_SECONDS,
    ) as client:
        assert client.get(f"{server.url}/metrics").status_code == 200


def test_five_hundred_half_handshakes_keep_nobody_out_and_end(
    server: Server, normal: NormalClient
) -> None:
    addresses = [f"127.0.0.{number}" for number in range(10, 20)]
    half = [connect(server, address) for address in addresses for _ in range(NEW_A_SECOND)]
    for number, connection in enumerate(half):
        connection.sendall(HELLO[: 1 + number % len(HELLO)])
    normal.wait_until_served(20)  # over two connections, each with a handshake
    for connection in half:
        with contextlib.suppress(OSError):
            while connection.recv(1000):
                pass
        connection.close()
    assert refused(server, "no_handshake") > 0


def test_handshakes_have_a_pace_of_each_address(server: Server, normal: NormalClient) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    completed: list[float] = []

    def shake(count: int) -> None:
        for _ in range(count):
            with contextlib.suppress(OSError), context.wrap_socket(connect(server)):
                completed.append(time.monotonic())

    began = time.monotonic()
    flooders = [threading.Thread(target=shake, args=(8,), daemon=True) for _ in range(8)]
    for thread in flooders:
        thread.start()
    normal.wait_until_served(20)
    for thread in flooders:
        thread.join(PATIENCE_SECONDS)
    seconds = time.monotonic() - began
    # Those of two seconds may come at once.
    assert 0 < len(completed) <= HANDSHAKES_A_SECOND * (seconds + 3)
