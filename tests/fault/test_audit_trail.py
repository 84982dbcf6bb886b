"""The audit trail under kill -9, full volumes and rotation in the middle of a storm."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.monitoring.audit import AuditFilter, AuditReader, verify_chain
from chronoduck.monitoring.audit.files import rotated_files
from chronoduck.settings import AuditSettings, Settings
from tests.fault.volumes import fill, small_volume
from tests.patience import PATIENCE_SECONDS
from tests.server import Server

pytestmark = pytest.mark.slow
MakeSettings = Callable[..., Settings]
_UNWRITTEN_SECONDS = 0.2


def trail(server: Server) -> Path:
    return server.directory / "test.db.audit.jsonl"


def read(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(text) for text in AuditReader(path).export(AuditFilter())]


class Storm:
    """Clients that send statements with ids of their own until the server is gone."""

    def __init__(self, server: Server, clients: int) -> None:
        self._server = server
        self.answered: dict[str, float] = {}
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(clients)
        ]

    def __enter__(self) -> Storm:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client_number: int) -> None:
        with self._server.client() as client:
            for number in range(100_000):
                if self._is_over.is_set():
                    return
                request_id = f"storm-{client_number}-{number}"
                try:
                    client.post(
                        "/query", json={"query": "SELECT 1"}, headers={"X-Request-ID": request_id}
                    )
                except httpx2.TransportError:
                    return
                self.answered[request_id] = time.monotonic()


def test_a_kill_in_a_storm_costs_the_last_moment_at_most(tmp_path: Path) -> None:
    answered: dict[str, float] = {}
    for round_number in range(5):
        with Server(tmp_path, DUCKDB_AUDIT_MAX_SIZE="100kB") as server:
            with Storm(server, 4) as storm:
                while len(storm.answered) < 400 + 111 * round_number:
                    time.sleep(0.01)
                killed_at = time.monotonic()
                server.kill()
            early = {
                f"{round_number} {request_id}": at
                for request_id, at in storm.answered.items()
                if at < killed_at - _UNWRITTEN_SECONDS
            }
            assert len(early) > 100
        answered |= early
        written = read(trail(server))
        starts = [n for n, event in enumerate(written) if event["event"] == "service_started"]
        here = {event.get("request_id") for event in written[starts[-1] :]}
        missing = {name for name in early if name.split()[1] not in here}
        assert not missing
        report = verify_chain(trail(server))
        assert report.problems == []
        assert report.torn_lines <= round_number + 1
    assert len(rotated_files(trail(server))) > 5
    assert len(starts) == 5


def test_rotation_under_load_loses_nothing(tmp_path: Path) -> None:
    with Server(tmp_path, DUCKDB_AUDIT_MAX_SIZE="50kB") as server:
        with Storm(server, 4) as storm:
            while len(storm.answered) < 3000:
                time.sleep(0.01)
        assert server.stop() == 0
    written = read(trail(server))
    ids = [event["request_id"] for event in written if event.get("request_id")]
    assert sorted(ids) == sorted(storm.answered)
    assert verify_chain(trail(server)).problems == []
    files = rotated_files(trail(server))
    assert len(files) > 10
    assert not [file for file in files if file.paths[0].exists()]
    assert written[0]["event"] == "service_started"
    assert written[-1]["event"] == "service_stopped"


async def until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.05)


async def test_on_a_full_volume_statements_go_on_and_the_gap_is_recorded(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    with small_volume(tmp_path / "trail", 4) as volume:
        file = volume / "audit.jsonl"
        settings = make_settings(audit=AuditSettings(file=file, queue_size=100_000))
        async with DuckDBService(settings) as service:

            def status() -> dict[str, Any]:
                return service.audit.get_status()

            await service.execute_query("SELECT 'before'")
            await until(lambda: status()["written"] == 2)
            stuffing = fill(volume, leave=0)
            for _ in range(20):  # the page that the file has begun may take some
                await service.execute_query("SELECT 'waits'")
            for _ in range(600):
                await service.execute_query("SELECT 'lost'")
                if status()["dropped"] >= 50:
                    break
            await until(lambda: status()["is_failing"])
            for _ in range(400):
                await service.execute_query("SELECT 'lost'")
            assert status()["dropped"] >= 50
            assert status()["waiting_bytes"] <= 100_000 + 1_000
            report = await service.health_check()
            component = report["components"]["audit"]
            assert component["status"] == report["status"] == "degraded"
            assert "No space left" in component["reason"]
            assert str(volume) not in component["reason"] + component["hint"]
            stuffing.unlink()
            await until(lambda: not status()["is_failing"])
            dropped = status()["dropped"]
            await service.execute_query("SELECT 'after'")
            report = await service.health_check()
            assert report["components"]["audit"]["status"] == "healthy"
        written = read(file)
        gaps = [event for event in written if event["event"] == "events_dropped"]
        assert sum(event["count"] for event in gaps) == dropped
        statements = sum(event["event"] == "statement" for event in written)
        checked = verify_chain(file)
        assert (checked.problems, checked.torn_lines) == ([], 0)
        assert checked.dropped_events == dropped
        assert statements + dropped == service._statistics.history.total
        assert written[-1]["event"] == "service_stopped"


async def test_a_trail_on_a_full_volume_does_not_stop_a_start(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    with small_volume(tmp_path / "trail", 4) as volume:
        file = volume / "audit.jsonl"
        settings = make_settings(audit=AuditSettings(file=file))
        async with DuckDBService(settings) as service:
            await service.execute_query("SELECT 1")
        first = read(file)
        stuffing = fill(volume, leave=0)
        # The last page of the file has room for a little: this needs more.
        async with DuckDBService(settings) as service:
            for _ in range(50):
                await service.execute_query("SELECT 2")
            await until(lambda: service.audit.get_status()["is_failing"])
            stuffing.unlink()
            await until(lambda: not service.audit.get_status()["is_failing"])
        written = read(file)
        assert written[: len(first)] == first
        assert len(written) == len(first) + 52
        assert verify_chain(file).problems == []
