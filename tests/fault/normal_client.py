"""An honest client beside hostile ones."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx2

from tests.patience import PATIENCE_SECONDS
from tests.server import Server

__all__ = ["NormalClient"]


class NormalClient(threading.Thread):
    """Runs SELECT 1 all the while, with a new connection now and then."""

    def __init__(self, server: Server, **options: Any) -> None:
        """``options`` are the HTTP client's."""
        super().__init__(daemon=True)
        self._options = options
        self._server = server
        self._stop_asked = threading.Event()
        self.served = 0
        self.failures: list[str] = []
        self.longest_seconds = 0.0

    def run(self) -> None:
        """Send until ``finish`` is called."""
        while not self._stop_asked.is_set():
            with self._server.client(**self._options) as client:
                for _ in range(10):
                    started = time.monotonic()
                    try:
                        answer = client.post("/query", json={"query": "SELECT 1"})
                        if answer.json().get("data") == [[1]]:
                            self.served += 1
                        else:
                            self.failures.append(answer.text)
                    except httpx2.HTTPError as error:
                        self.failures.append(repr(error))
                    self.longest_seconds = max(self.longest_seconds, time.monotonic() - started)

    def wait_until_served(self, count: int) -> None:
        """Return when so many of its statements were answered, counted from now on."""
        until = self.served + count
        give_up = time.monotonic() + PATIENCE_SECONDS
        while self.served < until:
            assert self.is_alive()
            assert not self.failures, self.failures[:3]
            assert time.monotonic() < give_up, "the honest client is not served"
            time.sleep(0.05)

    def finish(self) -> None:
        """Stop it; what it saw can be looked at then."""
        self._stop_asked.set()
        self.join(PATIENCE_SECONDS)
