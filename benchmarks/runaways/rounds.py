"""The rounds: one bad statement each, all workers held at once, and ``kill -9`` under load."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil

from benchmarks.runaways.neighbours import Answer, Latencies, Neighbours, ask
from benchmarks.runaways.statements import ONE_DEADLINE_SECONDS
from tests.server import Server

__all__ = ["Kill", "Round", "kill_under_load", "make_key", "measure_memory", "run_round"]

CLIENTS = 8
_READY_SECONDS = 30.0
_GROWN_UP_SECONDS = 10.5
"""A server that dies younger is not replaced at once."""


@dataclass
class Round:
    """What one kind of bad statement did."""

    name: str
    offender: Answer
    was_replaced: bool
    neighbours: Latencies


@dataclass
class Kill:
    """One ``kill -9`` of the server's process."""

    answering_seconds: float
    acknowledged: int
    lost: int
    neighbours: Latencies


def run_round(
    server: Server, name: str, sql: str, *, times: int = 1, token: str | None = None
) -> Round:
    """Send the statement ``times`` at once with a deadline of 1 s while neighbours ask.

    ``token`` is the offender's; without one it is the admin.
    """
    before = server.server_pid
    offenders_token = token or server.token
    answers: list[Answer] = []

    def offend() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        began = time.monotonic()
        try:
            answers.append(ask(connection, offenders_token, sql, ONE_DEADLINE_SECONDS))
        except (OSError, http.client.HTTPException):
            answers.append(Answer(0, "connection cut", time.monotonic() - began))

    with Neighbours(server.port, server.token, CLIENTS) as seen:
        time.sleep(0.5)
        threads = [threading.Thread(target=offend) for _ in range(times)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        _wait_until_settled(server, before)
        time.sleep(0.5)
    worst = max(answers, key=lambda answer: answer.seconds)
    return Round(name, worst, server.server_pid != before, seen)


def make_key(server: Server) -> str:
    """Return the key of an analyst."""
    with server.client() as client:
        answer = client.post("/keys", json={"name": "offender", "role": "analyst"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["key"])


def _wait_until_settled(server: Server, before: int) -> None:
    """Return once no worker is stuck any more: it came back, or the process was replaced."""
    while server.pid_of_owner in (None, before):
        try:
            with server.client() as client:
                if not client.get("/health").json()["queue"]["stuck"]:
                    return
        except httpx2.TransportError:
            continue  # it was replaced just now
        time.sleep(0.05)


def wait_for_standby(server: Server) -> None:
    """Return once a standby has imported everything: it uses no CPU any more."""
    supervisor = psutil.Process(server.process.pid)
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end:
        others = [child for child in supervisor.children() if child.pid != server.server_pid]
        used = [sum(child.cpu_times()[:2]) for child in others]
        time.sleep(0.5)
        if used and used == [sum(child.cpu_times()[:2]) for child in others] and used[0] > 0.5:
            return
    raise AssertionError("there is no standby")


def kill_under_load(server: Server, *, with_standby: bool) -> Kill:
    """Kill the server's process while clients read and one inserts; compare what was acknowledged."""
    began = time.monotonic()
    if with_standby:
        wait_for_standby(server)
    time.sleep(max(0.0, began + _GROWN_UP_SECONDS - time.monotonic()))
    server.query("DELETE FROM counted")
    acknowledged: list[int] = []
    is_over = threading.Event()

    def insert() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        number = 0
        while not is_over.is_set():
            number += 1
            try:
                answer = ask(connection, server.token, f"INSERT INTO counted VALUES ({number})")
            except (OSError, http.client.HTTPException):
                connection.close()
                continue
            if answer.status == 200:
                acknowledged.append(number)

    writer = threading.Thread(target=insert)
    with Neighbours(server.port, server.token, CLIENTS) as seen:
        writer.start()
        time.sleep(1.0)
        server.kill_server()
        began = time.monotonic()
        server.query("SELECT 1")
        answering = time.monotonic() - began
        time.sleep(0.5)
    is_over.set()
    writer.join()
    with server.client() as client:
        rows = client.post(
            "/query", json={"query": "SELECT a FROM counted", "max_rows": 1_000_000}
        ).json()["data"]
    lost = len(set(acknowledged) - {row[0] for row in rows})
    return Kill(answering, len(acknowledged), lost, seen)


def measure_memory(server: Server) -> dict[str, tuple[float, float]]:
    """Return MB of (resident, proportional) memory of each process."""
    wait_for_standby(server)
    supervisor = psutil.Process(server.process.pid)
    named = {"supervisor": supervisor, "server": psutil.Process(server.server_pid)}
    for child in supervisor.children():
        if child.pid != server.server_pid:
            named["standby"] = child
    return {name: _megabytes(process.pid) for name, process in named.items()}


def _megabytes(pid: int) -> tuple[float, float]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {
        line.split(":")[0]: int(line.split()[1]) / 1000
        for line in text.splitlines()
        if line.startswith(("Rss", "Pss:"))
    }
    return found["Rss"], found["Pss"]
