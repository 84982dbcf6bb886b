"""Who answers while no server is there; on a real socket, with the time passed in."""

from __future__ import annotations

import json
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chronoduck.supervision.doorkeeper import Doorkeeper
from tests.certificates import Certificate
from tests.patience import PATIENCE_SECONDS


class Door:
    """A doorkeeper in the loop of its supervisor."""

    def __init__(self, tls: list[str] | None = None) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.keeper = Doorkeeper(self.selector)
        self.keeper.set_up(self.listener, tls)
        self._is_over = False
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._is_over:
            self.keeper.tick(time.monotonic())
            for key, _ in self.selector.select(0.01) if self.selector.get_map() else []:
                assert key.data is self.keeper
                self.keeper.accept()

    def begin(self) -> None:
        self.keeper.shut(0.0)
        self._thread.start()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.listener.getsockname()[:2], timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        self._is_over = True
        if self._thread.ident is not None:
            self._thread.join()
        self.keeper.close()
        self.listener.close()
        self.selector.close()


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.close()


def read_all(connection: socket.socket) -> bytes:
    found = b""
    while piece := connection.recv(65_536):
        found += piece
    return found


def test_a_request_is_answered_503_with_when_to_come_again(door: Door) -> None:
    door.begin()
    with door.connect() as connection:
        connection.sendall(b"POST /api/v1/duckdb/query HTTP/1.1\r\nHost: a\r\n\r\n")
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in head
    problem = json.loads(body)
    assert (problem["code"], problem["retryable"]) == ("engine_restarted", True)
    assert f"content-length: {len(body)}".encode() in head


def test_who_sends_nothing_and_who_sends_much_are_answered_as_well(door: Door) -> None:
    door.begin()
    with door.connect() as silent, door.connect() as loud:
        loud.sendall(b"POST /rows HTTP/1.1\r\nContent-Length: 400000\r\n\r\n" + b"x" * 400_000)
        assert read_all(loud).startswith(b"HTTP/1.1 503 ")
        assert read_all(silent).startswith(b"HTTP/1.1 503 ")


def test_many_at_once_are_all_answered(door: Door) -> None:
    door.begin()
    connections = [door.connect() for _ in range(100)]
    for connection in connections:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
    for connection in connections:
        with connection:
            assert read_all(connection).startswith(b"HTTP/1.1 503 ")


def test_before_its_time_and_with_a_server_there_nobody_is_answered(door: Door) -> None:
    door.keeper.shut(60.0)
    door.keeper.tick(time.monotonic())
    assert not door.selector.get_map()
    door.keeper.tick(time.monotonic() + 61.0)
    assert len(door.selector.get_map()) == 1
    door.keeper.open()
    assert not door.selector.get_map()
    door.keeper.tick(time.monotonic() + 120.0)
    assert not door.selector.get_map()


def test_one_death_after_the_other_changes_nothing(door: Door) -> None:
    for _ in range(3):
        door.keeper.shut(0.0)
        door.keeper.tick(time.monotonic() + 1.0)
    door.begin()
    with door.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 503 ")


def test_over_tls_it_answers_with_the_services_certificate(tmp_path: Path) -> None:
    made = Certificate.make(tmp_path)
    door = Door([str(made.certificate), str(made.key)])
    door.begin()
    try:
        context = ssl.create_default_context(cafile=str(made.certificate))
        with (
            door.connect() as connection,
            context.wrap_socket(connection, server_hostname="db.example.org") as spoken,
        ):
            spoken.sendall(b"GET / HTTP/1.1\r\n\r\n")
            found = spoken.recv(65_536)
        assert found.startswith(b"HTTP/1.1 503 ")
    finally:
        door.close()


def test_a_certificate_that_cannot_be_read_closes_the_connection(tmp_path: Path) -> None:
    door = Door([str(tmp_path / "none.pem"), str(tmp_path / "none.key")])
    door.begin()
    try:
        with door.connect() as connection:
            assert connection.recv(10) == b""
    finally:
        door.close()
