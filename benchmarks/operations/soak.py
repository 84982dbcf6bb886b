"""A long day in short: many clients, a mix of statements, one in twenty bad; what is left behind."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx2
import psutil

from tests.server import Server

__all__ = ["CLIENTS", "Sample", "Soak", "run_soak"]

CLIENTS = 100
_PER_SECOND = 2.0
"""Requests of each client."""
_SAMPLE_SECONDS = 15.0
_READS = (
    "SELECT 1",
    "SELECT b, count(*) FROM small GROUP BY b",
    "SELECT a, b, 'text ' || a AS t FROM small LIMIT 1000",
    "SELECT count(*) FROM small s JOIN small t USING (a) WHERE s.b = 3",
)
_BAD = (
    ("SELEC 1", 400),
    ("SELECT * FROM not_there", 400),
    ("SELECT error('no')", 400),
    ("SELECT CAST('x' AS INTEGER)", 400),
    ("FROM read_csv('/etc/passwd')", 403),
    ("SET threads = 1", 403),
    ("SELECT sum(a.range * b.range) FROM range(100000) a, range(100000) b", 504),
)


@dataclass(frozen=True)
class Sample:
    """The server's process at a moment."""

    minutes: float
    rss_mb: float
    descriptors: int
    threads: int
    requests: int


@dataclass
class Soak:
    """What was sent, what came back, and what the process held."""

    minutes: float
    answers: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    stored: int = 0
    clients_left: int = 0
    samples: list[Sample] = field(default_factory=list)


async def run_soak(server: Server, minutes: float, show: Callable[[Sample], None]) -> Soak:
    """Send for that long, then let everything rest for a moment and look once more."""
    server.query("CREATE TABLE inserted (client INTEGER, n INTEGER)")
    soak = Soak(minutes)
    end = time.monotonic() + 60 * minutes
    looking = asyncio.create_task(_look(server, soak, show))
    limits = httpx2.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    async with httpx2.AsyncClient(
        base_url=f"{server.url}/api/v1/duckdb",
        headers={"Authorization": f"Bearer {server.token}"},
        timeout=60,
        limits=limits,
    ) as client:
        await asyncio.gather(*(_ask_on(client, soak, number, end) for number in range(CLIENTS)))
    await asyncio.sleep(_SAMPLE_SECONDS)
    looking.cancel()
    soak.samples.append(_sample(server, soak, 60 * minutes))
    soak.stored = server.query("SELECT count(*) FROM inserted")[0][0]
    return soak


async def _ask_on(client: httpx2.AsyncClient, soak: Soak, number: int, end: float) -> None:
    chance = random.Random(number)
    sent = 0
    while time.monotonic() < end:
        began = time.monotonic()
        kind = chance.random()
        try:
            if kind < 0.05:
                await _send_bad(client, soak, chance)
            elif kind < 0.06:
                await _leave(client, soak)
            elif kind < 0.20:
                sql = f"INSERT INTO inserted VALUES ({number}, {sent})"
                if await _send(client, soak, "insert", sql, 200):
                    soak.acknowledged += 1
            elif kind < 0.25:
                await _send(client, soak, "arrow", "FROM range(50000)", 200, "?format=arrow")
            else:
                await _send(client, soak, "read", chance.choice(_READS), 200)
        except httpx2.HTTPError as error:
            soak.unexpected[type(error).__name__] += 1
        sent += 1
        pause = chance.uniform(0.5, 1.5) / _PER_SECOND
        await asyncio.sleep(max(0.0, pause - (time.monotonic() - began)))


async def _send(
    client: httpx2.AsyncClient, soak: Soak, kind: str, sql: str, status: int, form: str = ""
) -> bool:
    answer = await client.post(f"/query{form}", json={"query": sql})
    soak.answers[f"{kind} {answer.status_code}"] += 1
    if answer.status_code != status:
        soak.unexpected[f"{kind}: {answer.status_code} {answer.text[:120]}"] += 1
    return answer.status_code == status


async def _send_bad(client: httpx2.AsyncClient, soak: Soak, chance: random.Random) -> None:
    sql, status = chance.choice(_BAD)
    seconds = 0.2 if status == 504 else 30
    answer = await client.post("/query", json={"query": sql, "timeout_seconds": seconds})
    soak.answers[f"bad {answer.status_code}"] += 1
    if answer.status_code != status:
        soak.unexpected[f"{sql[:30]}: {answer.status_code}"] += 1


async def _leave(client: httpx2.AsyncClient, soak: Soak) -> None:
    """Go away in the middle of a large result."""
    body = {"query": "FROM range(20000000)", "max_rows": 20_000_000}
    async with client.stream("POST", "/query?format=ndjson", json=body) as answer:
        async for _ in answer.aiter_bytes(65536):
            break
    soak.clients_left += 1


async def _look(server: Server, soak: Soak, show: Callable[[Sample], None]) -> None:
    began = time.monotonic()
    while True:
        sample = _sample(server, soak, time.monotonic() - began)
        soak.samples.append(sample)
        show(sample)
        await asyncio.sleep(_SAMPLE_SECONDS)


def _sample(server: Server, soak: Soak, seconds: float) -> Sample:
    process = psutil.Process(server.server_pid)
    return Sample(
        round(seconds / 60, 2),
        process.memory_info().rss / 1e6,
        process.num_fds(),
        process.num_threads(),
        sum(soak.answers.values()) + soak.clients_left,
    )
