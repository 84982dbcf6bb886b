"""``make bench-floods``: writes ``benchmarks/FLOODS.md``."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from rich.console import Console

from benchmarks.report import describe_machine
from tests.certificates import Certificate
from tests.server import Server

console = Console(highlight=False)
API = "/api/v1/duckdb"
KINDS = {
    "`GET /metrics`": "/metrics",
    "`GET /openapi.json`": "/openapi.json",
    "`GET statistics`": f"{API}/statistics",
    "`GET health`": f"{API}/health",
    "wrong tokens": f"{API}/query",
    "forged links": f"{API}/downloads/abc.def",
    "connections, opened and closed": "connect",
}
FLOODERS = 6
_TICKS = os.sysconf("SC_CLK_TCK")
_PAUSE_SECONDS = 0.01


@dataclass
class Seen:
    """What the honest client saw: milliseconds, its statements, and CPU seconds of the server."""

    waits: list[float]
    seconds: float
    cpu_seconds: float
    closed: int = 0
    """New connections that the service closed without an answer."""

    def at(self, share: float) -> float:
        return self.waits[min(len(self.waits) - 1, int(len(self.waits) * share))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    rows = [("nobody", _alone(seconds))]
    with tempfile.TemporaryDirectory() as directory, Server(Path(directory)) as server:
        for name, kind in KINDS.items():
            console.print(f"{name} ...")
            with _flooders(server, kind):
                rows.append((name, _measure(server, seconds)))
                _ask_as_scraper(server)
    with tempfile.TemporaryDirectory() as directory:
        made = Certificate.make(Path(directory))
        with Server(Path(directory), **made.settings) as server:
            rows.append(("nobody, TLS", _measure(server, seconds)))
            with _flooders(server, "handshake"):
                rows.append(("TLS handshakes", _measure(server, seconds)))
    lines = [
        "# Floods",
        "",
        f"Made by `make bench-floods`: {FLOODERS} processes on one address of the same machine flood; an "
        "honest client on another address and a kept connection sends `SELECT 1`.",
        "",
        f"Machine: {describe_machine()}.",
        "",
        "| flood | statements | p50, ms | p99, ms | longest, ms | server's CPU, s per s | closed per s |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {len(each.waits)} | {each.at(0.5):.1f} | {each.at(0.99):.1f} | "
        f"{each.waits[-1]:.1f} | {each.cpu_seconds / each.seconds:.2f} | "
        f"{each.closed / each.seconds:.0f} |"
        for name, each in rows
    ]
    text = "\n".join(lines) + "\n"
    console.print(text)
    (Path(__file__).parents[1] / "FLOODS.md").write_text(text)


def _alone(seconds: float) -> Seen:
    with tempfile.TemporaryDirectory() as directory, Server(Path(directory)) as server:
        return _measure(server, seconds)


@contextmanager
def _flooders(server: Server, kind: str) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.floods.flooder", str(server.port), kind]
    # Other machines flood, usually: the flooders' own CPU should not be what is measured.
    flooders = [
        subprocess.Popen(["nice", "-n", "10", *command, "127.0.0.2"]) for _ in range(FLOODERS)
    ]
    time.sleep(2)
    try:
        yield
    finally:
        for each in flooders:
            each.kill()
            each.wait()
        time.sleep(1)


def _measure(server: Server, seconds: float) -> Seen:
    key = _key(server)
    if server.url.startswith("https"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        client: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", server.port, timeout=60, context=context
        )
    else:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    body = json.dumps({"query": "SELECT 1"})
    waits = []
    closed, cpu, begun = _closed(server), _cpu_seconds(server), time.perf_counter()
    while time.perf_counter() - begun < seconds:
        sent = time.perf_counter()
        client.request("POST", f"{API}/query", body=body, headers=headers)
        answer = client.getresponse()
        answer.read()
        waits.append(1000 * (time.perf_counter() - sent))
        if answer.status != 200:
            raise RuntimeError(f"the honest client got {answer.status}")
        time.sleep(_PAUSE_SECONDS)
    passed, cpu = time.perf_counter() - begun, _cpu_seconds(server) - cpu
    time.sleep(1.2)  # until the log tells of the last second
    return Seen(sorted(waits), passed, cpu, _closed(server) - closed)


def _key(server: Server) -> str:
    limits = {"requests_per_minute": 1_000_000, "engine_seconds_per_hour": 100_000}
    body = {"name": f"honest{time.time_ns()}", "role": "analyst", "limits": limits}
    with server.client(verify=False) as client:
        return str(client.post("/keys", json=body).json()["key"])


def _ask_as_scraper(server: Server) -> None:
    """Have a scraper on the flooders' own address be answered."""
    transport = httpx2.HTTPTransport(local_address="127.0.0.2", retries=50)
    with httpx2.Client(transport=transport, timeout=60, base_url=server.url) as client:
        if client.get("/metrics").status_code != 200:
            raise RuntimeError("the scraper was refused")


def _cpu_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.server_pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _closed(server: Server) -> int:
    lines = [line for line in server.log.read_text().splitlines() if "connections_refused" in line]
    return sum(json.loads(line).get("too_many_new_connections", 0) for line in lines)


if __name__ == "__main__":
    main()
