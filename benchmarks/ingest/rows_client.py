"""Clients that send a few rows at a time: ``python -m benchmarks.ingest.rows_client PORT TOKEN ...``."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time

import uvloop

from benchmarks.http_client import Client
from benchmarks.measure import figures

_NUMBERS = itertools.count()
_ROW = b'{"id":%d,"url":"https://example.com/","score":1.5,"seen":"2026-01-01 00:00:00","ok":true}'


class RowClient(Client):
    """Sends other rows each time, with a key of their own if they are to have one."""

    def __init__(self, head: bytes, end: float, *, rows: int, has_key: bool, in_sql: bool) -> None:
        super().__init__(b"", end)
        self._rows = rows
        self._head = head
        self._has_key = has_key
        self._in_sql = in_sql

    def send(self) -> None:
        number = next(_NUMBERS)
        key = b"Idempotency-Key: %d-%d\r\n" % (os.getpid(), number) if self._has_key else b""
        if self._in_sql:
            sql = "INSERT INTO t VALUES ($id, $url, $score, $seen, $ok)"
            values = {"id": number, "url": "https://example.com/", "score": 1.5}
            values |= {"seen": "2026-01-01 00:00:00", "ok": True}
            body = json.dumps({"query": sql, "params": values, "fetch_mode": "none"}).encode()
        else:
            body = b"\n".join(_ROW % number for _ in range(self._rows))
        self.request = b"%s%sContent-Length: %d\r\n\r\n%s" % (self._head, key, len(body), body)
        super().send()


async def run(port: int, token: str, clients: int, seconds: float, way: str, rows: int) -> None:
    in_sql = way == "sql"
    path = "query" if in_sql else "tables/t/rows"
    head = (
        f"POST /api/v1/duckdb/{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {token}\r\n"
        f"Content-Type: application/{'json' if in_sql or rows == 1 else 'x-ndjson'}\r\n"
    ).encode()
    began = time.perf_counter()
    loop = asyncio.get_running_loop()
    made = [
        RowClient(head, began + seconds, rows=rows, has_key=way == "keys", in_sql=in_sql)
        for _ in range(clients)
    ]
    for client in made:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
    await asyncio.gather(*(client.finished for client in made))
    elapsed = time.perf_counter() - began
    durations = [taken for client in made for taken in client.durations]
    found = figures(durations, elapsed, sum(client.errors for client in made))
    print(json.dumps({**found.as_dict(), "acknowledged": len(durations) * rows}))


if __name__ == "__main__":
    port, token, clients, seconds, way, rows = sys.argv[1:7]
    uvloop.run(run(int(port), token, int(clients), float(seconds), way, int(rows)))
