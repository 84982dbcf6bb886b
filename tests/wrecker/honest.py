"""An honest reader and an honest writer: what they were promised, and how long they waited.

A process of its own: it notes each wait until its standard input ends, then prints one JSON line.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from typing import Any

import httpx2

_PAUSE_SECONDS = 0.05
_PATIENCE_SECONDS = 120.0
ROWS = 5
"""Of each batch that the writer loads."""


class _Honest:
    """Repeats a request until it succeeds, as the client library does."""

    def __init__(self, url: str, token: str, over: threading.Event) -> None:
        self._client = httpx2.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_PATIENCE_SECONDS,
        )
        self._over = over
        self.waits: list[tuple[float, float]] = []
        """When each request was first sent, and the seconds until it succeeded."""
        self.refusals: Counter[str] = Counter()

    def _send(self, path: str, **request: Any) -> dict[str, Any] | None:
        """Return the answer's last line; None if it did not come in time after the end."""
        started = time.time()
        while True:
            wait = _PAUSE_SECONDS
            try:
                answer = self._client.post(path, **request)
                last: dict[str, Any] = json.loads(answer.text.splitlines()[-1])
                if answer.status_code == 200 and last.get("event", "done") == "done":
                    self.waits.append((started, time.time() - started))
                    return last
                code = (last.get("error") or last).get("code")
                self.refusals[f"{answer.status_code} {code}"] += 1
                wait = min(float(answer.headers.get("Retry-After", wait)), 1.0)
            except (httpx2.HTTPError, ValueError, IndexError) as error:
                self.refusals[type(error).__name__] += 1
            if self._over.is_set() and time.time() - started > _PATIENCE_SECONDS:
                return None
            time.sleep(wait)


class Reader(_Honest):
    """Counts the ledger; what it once saw must stay there."""

    seen = 0

    def __init__(self, url: str, token: str, over: threading.Event) -> None:
        super().__init__(url, token, over)
        self.shrunk: list[str] = []

    def run(self) -> None:
        """Read until the end."""
        while not self._over.is_set():
            answer = self._send("/query", json={"query": "SELECT count(*) FROM ledger"})
            if answer is not None:
                count = int(answer["data"][0][0])
                if count < self.seen:
                    self.shrunk.append(f"{self.seen} rows, then {count}")
                self.seen = count
            time.sleep(_PAUSE_SECONDS)

    def report(self) -> dict[str, Any]:
        """Return what it saw."""
        return {"waits": self.waits, "refusals": self.refusals, "shrunk": self.shrunk}


class Writer(_Honest):
    """Loads batches of numbers, each under a key, and inserts one number by SQL, once."""

    def __init__(self, url: str, token: str, over: threading.Event) -> None:
        super().__init__(url, token, over)
        self.acknowledged: list[int] = []
        self.unknown: list[int] = []

    def run(self) -> None:
        """Write until the end."""
        batch = 0
        while not self._over.is_set():
            batch += 1
            numbers = range(batch * 10, batch * 10 + ROWS)
            lines = "".join(f'{{"n":{number}}}\n' for number in numbers)
            headers = {
                "Content-Type": "application/x-ndjson",
                "Idempotency-Key": f'"honest-{batch}"',
            }
            answer = self._send("/tables/ledger/rows", content=lines, headers=headers)
            (self.acknowledged if answer is not None else self.unknown).extend(numbers)
            self._insert(batch * 10 + ROWS)
            time.sleep(_PAUSE_SECONDS)

    def _insert(self, number: int) -> None:
        try:
            answer = self._client.post(
                "/query", json={"query": f"INSERT INTO ledger VALUES ({number})"}
            )
        except httpx2.HTTPError:
            self.unknown.append(number)
            return
        if answer.status_code == 200:
            self.acknowledged.append(number)
        elif answer.status_code >= 500:
            self.unknown.append(number)

    def report(self) -> dict[str, Any]:
        """Return what it was promised."""
        return {
            "waits": self.waits,
            "refusals": self.refusals,
            "acknowledged": self.acknowledged,
            "unknown": self.unknown,
        }


def main() -> None:
    """Read URL and two tokens from the command line; run both until the standard input ends."""
    url, reads, writes = sys.argv[1:]
    over = threading.Event()
    reader, writer = Reader(url, reads, over), Writer(url, writes, over)
    threads = [threading.Thread(target=each.run) for each in (reader, writer)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"reader": reader.report(), "writer": writer.report()}), flush=True)


if __name__ == "__main__":
    main()
