"""A load generator that costs little: keep-alive connections, requests made beforehand.

Run as a program of its own, so that the client's interpreter does not wait for anybody else's:
``python -m benchmarks.http_client PORT TOKEN CLIENTS SECONDS SQL`` prints the figures as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop

from benchmarks.measure import figures


class Client(asyncio.Protocol):
    """Sends the same request again as soon as the answer is complete."""

    def __init__(self, request: bytes, end: float) -> None:
        self.request = request
        self.end = end
        self.buffer = b""
        self.began = 0.0
        self.durations: list[float] = []
        self.errors = 0
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.began = time.perf_counter()
        if self.began >= self.end:
            self.transport.close()
            self.finished.set_result(None)
            return
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self.buffer = body[length:]
        if head.startswith(b"HTTP/1.1 200"):
            self.durations.append(time.perf_counter() - self.began)
        else:
            self.errors += 1
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self.errors += 1
            self.finished.set_result(None)


async def run(port: int, token: str, clients: int, seconds: float, sql: str) -> None:
    body = json.dumps({"query": sql}).encode()
    request = (
        f"POST /api/v1/duckdb/query HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    began = time.perf_counter()
    loop = asyncio.get_running_loop()
    made = [Client(request, began + seconds) for _ in range(clients)]
    for client in made:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
    await asyncio.gather(*(client.finished for client in made))
    elapsed = time.perf_counter() - began
    durations = [d for client in made for d in client.durations]
    result = figures(durations, elapsed, sum(client.errors for client in made))
    print(json.dumps(result.as_dict()))


if __name__ == "__main__":
    port, token, clients, seconds, sql = sys.argv[1:6]
    uvloop.run(run(int(port), token, int(clients), float(seconds), sql))
