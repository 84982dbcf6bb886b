"""Clients that ask small things all the time, and try again as they are told to."""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
from dataclasses import dataclass, field

__all__ = ["Answer", "Latencies", "Neighbours", "ask"]

_PAUSE_SECONDS = 0.02
_STATEMENTS = ("SELECT 1", "SELECT b, count(*) FROM small GROUP BY b")


@dataclass(frozen=True)
class Answer:
    """A response: its status, its code if it is a problem, and the seconds it took."""

    status: int
    code: str
    seconds: float
    retry_after: float = 0.0


@dataclass
class Latencies:
    """Seconds from the first attempt to the answer, and how often it took another attempt."""

    seconds: list[float] = field(default_factory=list)
    told_to_retry: int = 0
    resets: int = 0
    failed: list[str] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Return the latency below which a share of the answers came."""
        if len(self.seconds) < 2:
            return max(self.seconds, default=0.0)
        return statistics.quantiles(self.seconds, n=1000)[round(share * 1000) - 1]


def ask(
    connection: http.client.HTTPConnection, token: str, sql: str, timeout: float = 30.0
) -> Answer:
    """Send one statement."""
    began = time.monotonic()
    body = json.dumps({"query": sql, "timeout_seconds": timeout})
    connection.request("POST", "/api/v1/duckdb/query", body, {"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    content = response.read()
    code = "" if response.status == 200 else str(json.loads(content)["code"])
    retry_after = float(response.headers.get("Retry-After") or 0)
    return Answer(response.status, code, time.monotonic() - began, retry_after)


class Neighbours:
    """``with Neighbours(port, token, 8) as seen:`` they ask until the block ends."""

    def __init__(self, port: int, token: str, count: int) -> None:
        self._port = port
        self._token = token
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._seen = Latencies()
        self._threads = [threading.Thread(target=self._ask_on, args=(n,)) for n in range(count)]

    def __enter__(self) -> Latencies:
        for thread in self._threads:
            thread.start()
        return self._seen

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._is_over.is_set():
            began = time.monotonic()
            self._ask_until_answered(connection, _STATEMENTS[number % 2])
            with self._lock:
                self._seen.seconds.append(time.monotonic() - began)
            time.sleep(_PAUSE_SECONDS)
        connection.close()

    def _ask_until_answered(self, connection: http.client.HTTPConnection, sql: str) -> None:
        while True:
            try:
                answer = ask(connection, self._token, sql)
            except (OSError, http.client.HTTPException):
                connection.close()
                with self._lock:
                    self._seen.resets += 1
                continue
            if answer.status == 503:
                with self._lock:
                    self._seen.told_to_retry += 1
                time.sleep(answer.retry_after)
                continue
            if answer.status != 200:
                with self._lock:
                    self._seen.failed.append(answer.code)
            return
