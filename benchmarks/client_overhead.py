"""What the Python client costs beyond the HTTP request: ``python -m benchmarks.client_overhead``."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa

from chronoduck.client import Client
from tests.server import Server

MILLION = (
    "SELECT range AS id, range % 1000 AS k, range / 3 AS x, 'name ' || (range % 100) AS name "
    "FROM range(1000000)"
)


def seconds(work: Callable[[], Any], times: int) -> tuple[float, float]:
    """Return the median and the shortest time."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken), min(taken)


def drained(stream: Any) -> None:
    """Read a stream to its end."""
    with stream as items:
        for _ in items:
            pass


def measure(http: httpx2.Client, client: Client) -> None:
    """Print what each way takes."""

    def post(sql: str, wire: str = "json") -> bytes:
        body = {"query": sql, "max_rows": 2**53} if wire == "json" else {"query": sql}
        return http.post("/query", params={"format": wire}, json=body).content

    small: dict[str, Callable[[], Any]] = {
        "HTTP library": lambda: json.loads(post("SELECT 1")),
        "query": lambda: client.query("SELECT 1"),
    }
    for name, work in [*small.items(), *small.items()]:  # the first round warms up
        median, best = seconds(work, 2000)
        print(f"SELECT 1, {name}: median {median * 1e6:.0f} µs, best {best * 1e6:.0f} µs")
    large: dict[str, Callable[[], Any]] = {
        "HTTP library, Arrow": lambda: pa.ipc.open_stream(post(MILLION, "arrow")).read_all(),
        "arrow": lambda: client.arrow(MILLION),
        "stream_arrow": lambda: drained(client.stream_arrow(MILLION)),
        "HTTP library, JSON": lambda: json.loads(post(MILLION)),
        "query": lambda: client.query(MILLION),
        "stream": lambda: drained(client.stream(MILLION)),
    }
    for name, work in large.items():
        median, best = seconds(work, 5)
        print(f"1M rows, {name}: median {median * 1e3:.0f} ms, best {best * 1e3:.0f} ms")


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as directory,
        Server(Path(directory), DUCKDB_MEMORY_LIMIT="2GB") as server,
        server.client() as http,
        Client(server.url, token=server.token) as client,
    ):
        measure(http, client)
