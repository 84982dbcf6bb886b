"""Writers: ``python -m benchmarks.durability.load PORT TOKEN SECONDS`` writes until the service is gone.

Three clients send small transactions (one row, or five in a batch), a fourth sends bulk inserts. Every
transaction has a number; those that were acknowledged are printed at the end, as JSON, with the times
that they took.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

__all__ = ["BULK_CLIENT", "BULK_ROWS", "SMALL_CLIENTS", "TABLE"]

SMALL_CLIENTS = 3
BULK_CLIENT = SMALL_CLIENTS
BULK_ROWS = 20_000
TABLE = "CREATE TABLE writes (client INTEGER, number INTEGER, url VARCHAR, written TIMESTAMP)"
_BULK_PAUSE_SECONDS = 0.5
_ROW = "({client}, {number}, 'https://example.org/' || {number}, now()::TIMESTAMP)"


@dataclass
class Client:
    """One connection that sends a transaction after the other."""

    number: int
    port: int
    token: str
    end: float
    acknowledged: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    attempted: int = 0
    refused: int = 0

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        while time.time() < self.end:
            self.attempted += 1
            path, body = self._transaction(self.attempted)
            began = time.perf_counter()
            try:
                status = self._send(connection, path, body)
            except (OSError, http.client.HTTPException):
                return  # the service is gone
            self.seconds.append(time.perf_counter() - began)
            self.at.append(time.time())
            if status == 200:
                self.acknowledged.append(self.attempted)
            else:
                self.refused += 1
            if self.number == BULK_CLIENT:
                time.sleep(_BULK_PAUSE_SECONDS)

    def _transaction(self, number: int) -> tuple[str, dict[str, Any]]:
        row = _ROW.format(client=self.number, number=number)
        if self.number == BULK_CLIENT:
            select = row.strip("()")
            return "query", {"query": f"INSERT INTO writes SELECT {select} FROM range({BULK_ROWS})"}
        insert = f"INSERT INTO writes VALUES {row}"
        if number % 5 == 0:
            return "batch", {"queries": [insert] * 5}
        return "query", {"query": insert}

    def _send(self, connection: http.client.HTTPConnection, path: str, body: dict[str, Any]) -> int:
        connection.request(
            "POST",
            f"/api/v1/duckdb/{path}",
            json.dumps(body),
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        answer.read()
        return answer.status


def main() -> None:
    port, token, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    end = time.time() + seconds
    clients = [Client(number, port, token, end) for number in range(SMALL_CLIENTS + 1)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump(
        [
            {
                "attempted": client.attempted,
                "refused": client.refused,
                "acknowledged": client.acknowledged,
                "seconds": [round(each, 6) for each in client.seconds],
                "at": [round(each, 3) for each in client.at],
            }
            for client in clients
        ],
        sys.stdout,
    )


if __name__ == "__main__":
    main()
