"""Who answers while no server is there: 503, when to come again, and nothing else.

The listening socket is the supervisor's, so that clients who connect while a dead server is replaced
wait in the kernel. They would not know for what, nor how long. Over TLS they are answered, too, if the
certificate can be read here; else they see a connection that is closed.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

__all__ = ["Doorkeeper"]

_THREADS = 16
_MOST_WAITING = 256
"""Connections beyond those stay in the kernel until somebody has time for them."""
_REST_SECONDS = 0.02
_HELLO_SECONDS = 0.1
"""How long a client may take for the first bytes of its request; then it is answered all the same."""
_FAREWELL_SECONDS = 1.0
"""How long what it still sends is read: closing before would take the answer away from it."""
_READ_BYTES = 65_536
_RETRY_SECONDS = 1
_BODY = {
    "type": "urn:chronoduck:problem:engine_restarted",
    "title": "The engine was restarted",
    "status": 503,
    "detail": "the server's process ended and the next one is starting; nothing of this request was run",
    "code": "engine_restarted",
    "hint": "Send it again after the seconds in Retry-After.",
    "retryable": True,
    "request_id": None,
}


def _response() -> bytes:
    body = json.dumps(_BODY).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\n"
        "content-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\n"
        f"retry-after: {_RETRY_SECONDS}\r\n"
        "cache-control: no-store\r\n"
        "x-content-type-options: nosniff\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body


class Doorkeeper:
    """Answers at the listening socket from ``shut`` to ``open``. For the supervisor's one thread."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._listener: socket.socket | None = None
        self._tls: tuple[str, str] | None = None
        self._is_listening = False
        self._pool: ThreadPoolExecutor | None = None
        self._places = threading.BoundedSemaphore(_MOST_WAITING)
        self.due: float | None = None
        """``time.monotonic()`` at which ``tick`` is to be called."""

    def set_up(self, listener: socket.socket, tls: Sequence[str] | None) -> None:
        """Take the socket, and the files of the certificate and of its key."""
        self._listener = listener
        self._tls = None if tls is None else (tls[0], tls[1])

    def shut(self, patience_seconds: float) -> None:
        """Begin to answer after so long, unless there is a server by then; goes on if it does already."""
        if self._listener is not None and not self._is_listening and self.due is None:
            self.due = time.monotonic() + patience_seconds

    def open(self) -> None:
        """Leave the socket to a server. Idempotent."""
        self.due = None
        self._stop_listening()
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None

    def close(self) -> None:
        """Let go of the socket."""
        self.open()
        self._listener = None

    def tick(self, now: float) -> None:
        """Begin to listen once it is time."""
        if self.due is None or now < self.due or self._listener is None:
            return
        self.due = None
        if self._is_listening:
            return
        # The next server has it so, too: it is one file description for all of us.
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self)
        self._is_listening = True
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="doorkeeper")

    def _stop_listening(self) -> None:
        if self._is_listening and self._listener is not None:
            self._is_listening = False
            self._selector.unregister(self._listener)

    def accept(self) -> None:
        """Take what waits at the socket and have it answered."""
        if self._listener is None or self._pool is None:
            return
        while self._places.acquire(blocking=False):
            try:
                connection, _ = self._listener.accept()
            except OSError:  # nobody is left, or no descriptor is
                self._places.release()
                self._rest()
                return
            self._pool.submit(self._answer, connection)
        self._rest()

    def _rest(self) -> None:
        """Leave the others in the kernel for a moment: the socket would wake us again and again."""
        self._stop_listening()
        self.due = time.monotonic() + _REST_SECONDS

    def _answer(self, connection: socket.socket) -> None:
        try:
            _answer(connection, self._tls)
        finally:
            self._places.release()


def _answer(connection: socket.socket, tls: tuple[str, str] | None) -> None:
    with contextlib.suppress(OSError), connection:
        end = time.monotonic() + _FAREWELL_SECONDS
        spoken = connection if tls is None else _encrypted(connection, tls)
        if spoken is None:
            return
        with spoken:
            spoken.settimeout(_HELLO_SECONDS)
            with contextlib.suppress(TimeoutError):
                spoken.recv(_READ_BYTES)
            spoken.settimeout(_FAREWELL_SECONDS)
            spoken.sendall(_response())
            spoken.shutdown(socket.SHUT_WR)
            while time.monotonic() < end and spoken.recv(_READ_BYTES):
                pass


def _encrypted(connection: socket.socket, tls: tuple[str, str]) -> socket.socket | None:
    """Return the connection after its handshake; None where that cannot be done."""
    import ssl  # noqa: PLC0415 - 3 MB that only an outage of a service with TLS needs

    try:
        # Read anew for each: certificates are replaced, and there are few connections.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls, password=lambda: b"")
        connection.settimeout(_FAREWELL_SECONDS)
        return context.wrap_socket(connection, server_side=True)
    except (OSError, ValueError):
        return None
