"""kill -9 while small loads are committed in groups: with retries every row is there exactly once.

``CHRONODUCK_INGEST_ROUNDS`` sets how many kills at least (10), ``CHRONODUCK_INGEST_SEED`` which moments.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import orjson
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import Server, settled_text

pytestmark = pytest.mark.slow
ROUNDS = int(os.environ.get("CHRONODUCK_INGEST_ROUNDS", "10"))
SEED = int(os.environ.get("CHRONODUCK_INGEST_SEED", "20261125"))
CLIENTS = 16


class Clients:
    """Send rows, each with a key, and each again until it is acknowledged."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.acknowledged: list[int] = []
        self.replayed = 0
        self.retries = 0
        self.kills = 0
        self.is_over = False
        self._next = 0

    async def run(self) -> None:
        await asyncio.gather(*(self._send_rows() for _ in range(CLIENTS)))

    async def _send_rows(self) -> None:
        async with httpx2.AsyncClient(
            base_url=f"{self.server.url}/api/v1/duckdb",
            headers={"Authorization": f"Bearer {self.server.token}"},
            timeout=PATIENCE_SECONDS,
        ) as client:
            while not self.is_over:
                number, self._next = self._next, self._next + 1
                await self._send(client, number)
                self.acknowledged.append(number)

    async def _send(self, client: httpx2.AsyncClient, number: int) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            with suppress(httpx2.TransportError):
                answer = await client.post(
                    "/tables/t/rows",
                    content=orjson.dumps([{"a": number}, {"a": -number - 1}]),
                    headers={
                        "Content-Type": "application/json",
                        "Idempotency-Key": f'"row-{number}"',
                    },
                )
                if answer.status_code == 200:
                    self.replayed += answer.headers.get("Idempotency-Replayed") == "true"
                    return
                assert answer.status_code in (409, 500, 503), answer.text
            self.retries += 1
            await asyncio.sleep(0.05)
        raise AssertionError(f"row {number} was never acknowledged")


async def _kill_again_and_again(server: Server, clients: Clients) -> None:
    moments = random.Random(SEED)
    try:
        # Until one kill fell between a commit and its answer, which is what the keys are for.
        while clients.kills < ROUNDS or (not clients.replayed and clients.kills < 10 * ROUNDS):
            before = len(clients.acknowledged)
            end = time.monotonic() + PATIENCE_SECONDS
            # It works again: what is acknowledged may still be of before the last kill.
            while len(clients.acknowledged) < before + CLIENTS or server.pid_of_owner is None:
                assert time.monotonic() < end, "the service does not come back"
                await asyncio.sleep(0.01)
            await asyncio.sleep(moments.uniform(0.0, 0.2))
            server.kill_server()
            clients.kills += 1
    finally:
        clients.is_over = True


async def test_what_is_acknowledged_is_there_exactly_once(tmp_path: Path) -> None:
    with Server(tmp_path, DUCKDB_STANDBY="true") as server:
        server.query("CREATE TABLE t (a BIGINT)")
        clients = Clients(server)
        await asyncio.gather(clients.run(), _kill_again_and_again(server, clients))
        found = [
            server.query(f"SELECT count(*), count(DISTINCT a), sum({value}) FROM t WHERE {half}")[0]
            for value, half in (("a", "a >= 0"), ("-a - 1", "a < 0"))
        ]
        log = settled_text(tmp_path / "server.log")
    print(
        f"{clients.kills} kills, {len(clients.acknowledged):,} acknowledged, "
        f"{clients.retries:,} retries, {clients.replayed:,} answered from what was kept"
    )
    count, total = len(clients.acknowledged), sum(clients.acknowledged)
    assert count == len(set(clients.acknowledged))
    assert found == [[count, count, total]] * 2
    assert clients.replayed > 0
    assert "Traceback" not in log
