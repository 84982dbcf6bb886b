"""The query log and the windows of the statistics outlive a kill -9, and never hold statements up."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.settings import Settings
from tests.server import Server

pytestmark = pytest.mark.slow

COUNTED = "SELECT count(*) FROM chronoduck.query_log WHERE statement = 'select ? as mine'"


def windows(server: Server) -> dict[str, dict[str, float]]:
    with server.client() as client:
        report = client.get("/statistics").json()
    found: dict[str, dict[str, float]] = report["query_analysis"]["windows"]
    return found


def wait_for(server: Server, count: int) -> None:
    """Wait until so many statements are in the log."""
    while server.query(COUNTED) != [[count]]:
        time.sleep(0.1)


@pytest.mark.parametrize("kill", ["kill", "kill_server", "stop"])
def test_what_was_written_is_there_after_the_end(tmp_path: Path, kill: str) -> None:
    with Server(tmp_path, DUCKDB_QUERY_LOG_INTERVAL="100ms") as server:
        with server.client() as client:
            client.post("/query", json={"query": "SELEC"})
        for number in range(50):
            server.query(f"SELECT {number} AS mine")
        wait_for(server, 50)
        before = windows(server)["1h"]
        getattr(server, kill)()
        if kill == "kill_server":  # the supervisor starts another one
            assert server.becomes_ready()
            assert server.query(COUNTED) == [[50]]
            after = windows(server)
    if kill != "kill_server":
        with Server(tmp_path) as server:
            assert server.query(COUNTED) == [[50]]
            after = windows(server)
            with server.client() as client:
                # Since the start there is nearly nothing, in the windows there is what was before.
                assert client.get("/statistics").json()["query_analysis"]["total_queries"] < 10
    for name in ("1h", "24h", "7d"):
        assert after[name]["total_queries"] >= 51
        assert after[name]["user_errors"] == before["user_errors"] == 1
        assert after[name]["p99"] > 0


def test_after_rounds_of_kill_9_the_log_is_whole(tmp_path: Path) -> None:
    """It is killed while it writes, checkpoints and prunes; it holds at least what it held before."""
    counted = 0
    for _ in range(4):
        with Server(
            tmp_path, DUCKDB_QUERY_LOG_INTERVAL="10ms", DUCKDB_QUERY_LOG_KEEP_ROWS="1000000"
        ) as server:
            seen = server.query("SELECT count(*), count(statement) FROM chronoduck.query_log")[0]
            assert seen[0] == seen[1] >= counted
            with server.client() as client:
                for number in range(300):
                    client.post("/query", json={"query": f"SELECT {number}"})
                assert client.get("/statistics").json()["query_log"]["is_persistent"]
            counted = server.query("SELECT count(*) FROM chronoduck.query_log")[0][0]
            server.kill()


def test_a_log_from_a_server_that_runs_is_not_taken_by_another(tmp_path: Path) -> None:
    """A copy of the database beside it has a log of its own."""
    with Server(tmp_path) as server:
        server.query("SELECT 1 AS mine")
        shared = tmp_path / "test.query_log" / "query_log.duckdb"
        other = tmp_path / "other"
        other.mkdir()
        with Server(other, DUCKDB_QUERY_LOG_FILE=shared) as second:
            with second.client() as client:
                log = client.get("/statistics").json()["query_log"]
                found = client.get("/health").json()["components"]["query_log"]
            assert (log["is_persistent"], log["is_failing"]) == (False, True)
            assert found["status"] == "degraded"
            assert "cannot be written" in found["reason"]
            second.query("SELECT 2 AS mine")
            wait_for(second, 1)
        wait_for(server, 1)


async def test_a_log_that_cannot_keep_up_drops_and_counts(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that hangs for a while: statements go on meanwhile, and are counted where they miss."""
    settings = make_settings(query_log={"queue_size": 20, "interval": "10ms"})
    async with DuckDBService(settings) as service:
        store = service._statistics._store
        assert store is not None
        append = store.append
        hangs = asyncio.Event()
        loop = asyncio.get_running_loop()
        released = asyncio.Event()

        def hanging(*arguments: object) -> bool:
            loop.call_soon_threadsafe(hangs.set)
            asyncio.run_coroutine_threadsafe(released.wait(), loop).result()
            return append(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(store, "append", hanging)
        await service.execute_query("SELECT 0")
        await hangs.wait()
        for number in range(50):
            await service.execute_query(f"SELECT {number}")
        report = (await service.get_statistics())["query_log"]
        assert (report["waiting"], report["dropped"]) == (20, 30)
        released.set()
        await service._statistics.flush()
        report = (await service.get_statistics())["query_log"]
        assert (report["written"], report["waiting"], report["dropped"]) == (21, 0, 30)
        assert report["is_failing"] is False


async def test_a_log_whose_directory_is_gone_costs_rows_and_nothing_else(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(query_log={"interval": "10ms"})
    async with DuckDBService(settings) as service:
        shutil.rmtree(settings.query_log_path.parent)
        for number in range(100):
            assert (await service.execute_query(f"SELECT {number}")).data == [(number,)]
            await asyncio.sleep(0.001)
        await service._statistics.flush()
        assert (await service.health_check())["status"] in ("healthy", "degraded")
    async with DuckDBService(settings) as service:
        await service.execute_query("SELECT 1")
        assert (await service.get_statistics())["query_log"]["is_persistent"]
