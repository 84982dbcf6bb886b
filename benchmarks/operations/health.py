"""How fast health answers: idle, under many clients, and with every worker deaf to interrupts.

The last one is measured without a supervisor, which would replace the process at once.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from benchmarks.runaways.statements import STATEMENTS
from tests.server import environment, free_port

__all__ = ["WORKERS", "Address", "HealthLatency", "measure_all", "serve_embedded"]

WORKERS = 4
_CLIENTS = 200
_PATH = "/api/v1/duckdb/health"
_DEAF = STATEMENTS["levenshtein"]


@dataclass(frozen=True)
class HealthLatency:
    """Latencies in milliseconds of one situation, and the statuses that were told."""

    situation: str
    answers: int
    p50: float
    p99: float
    longest: float
    told: tuple[str, ...]


@dataclass(frozen=True)
class Address:
    """Where a service is, and its admin's token."""

    port: int
    token: str


@contextmanager
def serve_embedded(directory: Path) -> Iterator[Address]:
    """Serve the database in the directory as an application of another server would."""
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "chronoduck.api:create_app", "--factory"),
            *("--port", str(port), "--loop", "uvloop", "--no-access-log"),
        ],
        env=environment(
            directory, DUCKDB_WORKER_THREADS=WORKERS, DUCKDB_LOG_FILE=directory / "log"
        ),
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                httpx2.get(f"http://127.0.0.1:{port}{_PATH}/ready").raise_for_status()
                break
            except httpx2.HTTPError:
                time.sleep(0.1)
        yield Address(port, (directory / "admin.token").read_text().strip())
    finally:
        process.kill()
        process.wait()


def measure_all(server: Address, seconds: float) -> list[HealthLatency]:
    """Ask twenty times a second in each situation."""
    found = [_measure(server, "idle", seconds)]
    load = subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks.http_client", str(server.port), server.token),
            *(str(_CLIENTS), str(seconds + 2), "SELECT b, count(*) FROM small GROUP BY b"),
        ],
        stdout=subprocess.PIPE,
    )
    time.sleep(1)
    found.append(_measure(server, f"{_CLIENTS} clients, as fast as they can", seconds))
    load.communicate()
    callers = [
        threading.Thread(target=_send_deaf, args=(server,), daemon=True) for _ in range(WORKERS)
    ]
    for caller in callers:
        caller.start()
    time.sleep(3)  # their deadline is over, and nobody listens
    found.append(_measure(server, f"all {WORKERS} workers stuck", seconds))
    return found


def _send_deaf(server: Address) -> None:
    body = json.dumps({"query": _DEAF, "timeout_seconds": 1})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": f"Bearer {server.token}"}
    connection.request("POST", "/api/v1/duckdb/query", body, headers)
    connection.getresponse().read()
    connection.close()


def _measure(server: Address, situation: str, seconds: float) -> HealthLatency:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    times, told = [], set()
    end = time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        connection.request("GET", _PATH)
        told.add(str(json.loads(connection.getresponse().read())["status"]))
        times.append(1000 * (time.monotonic() - began))
        time.sleep(max(0.0, 0.05 - (time.monotonic() - began)))
    connection.close()
    cuts = statistics.quantiles(times, n=100)
    return HealthLatency(situation, len(times), cuts[49], cuts[98], max(times), tuple(sorted(told)))
