"""A Meilisearch for tests: our own contract server, or a real one by MEILISEARCH_URL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import free_port

__all__ = ["KEY", "REAL_URL", "Meilisearch"]

REAL_URL = os.environ.get("MEILISEARCH_URL", "")
KEY = os.environ.get("MEILISEARCH_KEY", "") if REAL_URL else "a-Master_Key.of/tests+16"
_ROOT = Path(__file__).parents[1]


class Meilisearch:
    """A server; a context manager. ``kill`` and ``start`` again keep what it holds."""

    def __init__(self, directory: Path, payload_bytes: int = 100_000_000) -> None:
        self._directory = directory
        self._payload_bytes = payload_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = REAL_URL or f"http://127.0.0.1:{self.port}"
        self.client = httpx2.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=PATIENCE_SECONDS
        )

    def start(self) -> Self:
        if REAL_URL:
            return self
        self._directory.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.meilisearch_contract"),
                *(str(self._directory), str(self.port), KEY, str(self._payload_bytes)),
            ],
            cwd=_ROOT,
        )
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                if self.client.get("/health").status_code == 200:
                    return self
            except httpx2.TransportError:
                time.sleep(0.02)
        raise AssertionError("the server did not become ready")

    def kill(self) -> None:
        """End it at once."""
        _only_ours()
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def fault(self, kind: str, match: str = "", times: int = 1, **facts: Any) -> None:
        """Have it fail: ``status``, ``drop_before`` or ``drop_after`` a request, or a ``task``."""
        _only_ours()
        body = {"kind": kind, "match": match, "times": times, **facts}
        assert self.client.post("/_faults", json=body).status_code == 200

    def slow(self, seconds: float) -> None:
        """Have every task take that long."""
        _only_ours()
        assert self.client.post("/_faults", json={"slow_seconds": seconds}).status_code == 200

    def documents(self, index: str) -> list[dict[str, Any]]:
        """Return all documents of an index."""
        found: list[dict[str, Any]] = []
        while True:
            asked = {"offset": len(found), "limit": 10_000}
            answer = self.client.get(f"/indexes/{index}/documents", params=asked)
            assert answer.status_code == 200, answer.text
            page = answer.json()["results"]
            found += page
            if len(page) < 10_000:
                return found

    def count(self, index: str) -> int:
        """Return how many documents a search finds there; -1 without the index."""
        answer = self.client.get(f"/indexes/{index}/stats")
        return answer.json()["numberOfDocuments"] if answer.status_code == 200 else -1

    def wait(self, answer: httpx2.Response) -> dict[str, Any]:
        """Return the task of an answer once it has ended."""
        assert answer.status_code == 202, answer.text
        while True:
            task = self.client.get(f"/tasks/{answer.json()['taskUid']}").json()
            if task["status"] in ("succeeded", "failed", "canceled"):
                return task
            time.sleep(0.02)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _only_ours() -> None:
    if REAL_URL:
        pytest.skip("a Meilisearch that others may use is not broken")
