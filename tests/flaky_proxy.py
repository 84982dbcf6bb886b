"""Stands before a server and lets some connections fail: what a bad network or store does."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from types import TracebackType
from typing import Self

__all__ = ["FlakyProxy"]

_PIECE = 65_536
_METHODS = (b"GET ", b"PUT ", b"POST ", b"HEAD ", b"DELETE ")


class FlakyProxy:
    """Forwards HTTP; a share of the requests ends with their connection. A context manager."""

    def __init__(
        self, port: int, *, failing: float, seed: int = 1, after_request: bool = False
    ) -> None:
        """``after_request``: those that fail reach the server, and only their answers do not come."""
        self._target = ("127.0.0.1", port)
        self.failing = failing
        """Share of the requests that fail, 0..1; may be changed at any time."""
        self._random = random.Random(seed)
        self._after_request = after_request
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cut = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            client,
            socket.create_connection(self._target) as server,
        ):
            drop = threading.Event()
            back = threading.Thread(target=self._answer, args=(server, client, drop), daemon=True)
            back.start()
            while data := client.recv(_PIECE):
                if data.startswith(_METHODS) and self._random.random() < self.failing:
                    self.cut += 1
                    if not self._after_request:
                        break
                    drop.set()
                server.sendall(data)
            for end in (client, server):
                end.shutdown(socket.SHUT_RDWR)
            back.join()

    @staticmethod
    def _answer(server: socket.socket, client: socket.socket, drop: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while (data := server.recv(_PIECE)) and not drop.is_set():
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)  # also when the server's process was killed
