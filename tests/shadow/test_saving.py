"""What an open service does when its shadow finds that a start would fail: the data is saved."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBException, WalNotReplayableError
from chronoduck.settings import CheckpointSettings, Settings
from chronoduck.settings.groups import ShadowSettings
from tests.broken_index import broken_index_database
from tests.patience import PATIENCE_SECONDS
from tests.shadow.live import append_rejected_entry

ROWS = 500
OLD = pytest.mark.skipif(
    not duckdb.__version__.startswith("1.5."), reason="DuckDB 1.5 has this bug"
)


class Stuck:
    """Whoever would replace the process."""

    def __init__(self) -> None:
        self.reasons: list[str] = []


@pytest.fixture
def stuck() -> Stuck:
    return Stuck()


@pytest.fixture
async def opened(
    make_settings: Callable[..., Settings], stuck: Stuck
) -> AsyncIterator[DuckDBService]:
    settings = make_settings(
        shadow=ShadowSettings(enabled=True, cpu_percent=100),
        checkpoint=CheckpointSettings(timeout=2.0),
        worker_threads=4,
        stuck_seconds=1.0,
        disk_floor=0,
    )
    service = DuckDBService(settings, on_stuck=stuck.reasons.append)
    await service.initialize()
    await service.execute_query(
        f"CREATE TABLE t AS SELECT range AS a, range::VARCHAR AS v FROM range({ROWS})"
    )
    await service.execute_query("CREATE INDEX t_a ON t (a)")
    yield service
    await asyncio.wait_for(service.shutdown(), 60)


def refute(service: DuckDBService, scratch: Path) -> None:
    database = service.settings.database_path
    append_rejected_entry(database.with_name(database.name + ".wal"), scratch)


async def component(service: DuckDBService) -> dict[str, Any]:
    health = await service.health_check()
    found: dict[str, Any] = health["components"]["shadow"]
    return found


async def until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not (result := condition()) or (asyncio.iscoroutine(result) and not await result):
            await asyncio.sleep(0.05)


async def is_well(service: DuckDBService) -> bool:
    return (await component(service))["status"] == "healthy"


@pytest.mark.parametrize("with_wal", [True, False])  # DDL was checkpointed: there is none by itself
async def test_the_service_checkpoints_at_once_and_is_well_again(
    opened: DuckDBService, tmp_path: Path, stuck: Stuck, with_wal: bool
) -> None:
    parts = await opened.parts()
    await until(lambda: parts.shadow.status.proven)
    if with_wal:
        await opened.execute_query("INSERT INTO t VALUES (-2, 'before')")
    before = parts.checkpointer.count
    refute(opened, tmp_path)
    await until(lambda: parts.shadow.status.refuted)
    await until(lambda: parts.checkpointer.count > before)
    await until(lambda: is_well(opened))
    await opened.execute_query("INSERT INTO t VALUES (-1, 'after')")
    assert not stuck.reasons


async def test_an_index_that_answers_wrongly_in_the_file_is_well_once_it_is_made_anew(
    make_settings: Callable[..., Settings],
) -> None:
    """As the runbook says; a checkpoint writes the index as it is."""
    settings = make_settings(
        shadow=ShadowSettings(enabled=True, cpu_percent=100), disk_floor=0, worker_threads=4
    )
    settings.database_path.parent.mkdir(parents=True, exist_ok=True)
    broken_index_database(settings.database_path)
    settings.database_path.chmod(0o640)
    async with DuckDBService(settings) as service:
        parts = await service.parts()
        for number in range(3):
            await service.execute_query(f"INSERT INTO t VALUES ({100_000 + number})")
            await until(lambda: parts.shadow.status.refuted)
            assert "index t_k of main.t" in parts.shadow.status.reason
            await service.execute_query("CHECKPOINT")
        await until(lambda: not parts.refuted.refusing)
        found = await service.execute_query(
            "SELECT sql FROM duckdb_indexes() WHERE index_name = 't_k'"
        )
        await service.execute_query("DROP INDEX t_k")
        await service.execute_query(found.data[0][0])
        await service.execute_query("CHECKPOINT")
        await service.execute_query("INSERT INTO t VALUES (200000)")
        await until(lambda: is_well(service))
        assert parts.shadow.status.refuted is None
        read = await service.execute_query("SELECT k FROM t WHERE k = 7")
        assert read.data == [(7,)]


async def test_an_older_reader_is_ended_for_the_checkpoint_with_an_error_that_can_be_retried(
    opened: DuckDBService, tmp_path: Path
) -> None:
    parts = await opened.parts()
    long = "SELECT count(*) FROM t x, t y, t z, t w WHERE x.v || y.v <> z.v || w.v"
    reader = asyncio.create_task(opened.execute_query(long, timeout=120.0))
    await until(parts.runner.list_running)
    [session] = parts.runner._sessions.values()
    await until(lambda: session.progress is not None)  # its transaction is older than the ALTER
    await opened.execute_query("ALTER TABLE t ADD COLUMN n INTEGER DEFAULT 3")
    refute(opened, tmp_path)
    await until(lambda: parts.shadow.status.refuted)
    with pytest.raises(DuckDBException) as caught:
        await asyncio.wait_for(reader, 60)
    assert (caught.value.code, caught.value.retryable) == ("reader_interrupted", True)
    await until(lambda: is_well(opened))


async def test_when_no_checkpoint_is_possible_writes_are_refused_and_everything_is_copied(
    opened: DuckDBService, tmp_path: Path, stuck: Stuck
) -> None:
    parts = await opened.parts()
    async with opened.transaction() as blocking:
        await blocking.execute("UPDATE t SET v = 'not committed'")
        refute(opened, tmp_path)
        await until(lambda: parts.refuted.refusing)
        for write in ("INSERT INTO t VALUES (1, 'x')", "DELETE FROM t", "CREATE TABLE u (a INT)"):
            with pytest.raises(WalNotReplayableError) as caught:
                await opened.execute_query(write)
            assert (caught.value.http_status, caught.value.retryable) == (503, True)
        assert (await opened.execute_query("SELECT count(*) FROM t")).data == [(ROWS,)]
        await until(lambda: parts.refuted.rescue_file)
        found = await component(opened)
        assert found["status"] == "unhealthy"
        assert "a verified copy was made" in found["reason"]
        assert "Do not restart" in found["hint"]
        transport = httpx2.ASGITransport(create_app(opened))
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            # Whoever restarts what is not alive must see a living process.
            assert (await client.get("/api/v1/duckdb/health")).status_code == 503
            assert (await client.get("/api/v1/duckdb/health/live")).status_code == 200
            metrics = (await client.get("/metrics")).text
            assert 'duckdb_shadow_verdict{verdict="refuted"} 1.0' in metrics
        # Nothing may replace the process now, whatever else goes wrong.
        parts.refuted.replace_process("statements do not listen")
        assert not stuck.reasons
    copy = parts.refuted.rescue_file
    assert copy is not None
    with duckdb.connect(str(copy), read_only=True) as connection:
        assert connection.execute("SELECT count(*), sum(v::BIGINT) FROM t").fetchone() == (
            ROWS,
            sum(range(ROWS)),
        )
        assert connection.execute("SELECT index_name FROM duckdb_indexes()").fetchall() == [
            ("t_a",)
        ]
    await until(lambda: is_well(opened))
    await opened.execute_query("INSERT INTO t VALUES (-1, 'after')")


@OLD
def test_a_checkpoint_that_does_not_end_refuses_writes_and_everything_is_copied(
    tmp_path: Path,
) -> None:
    """In a process of its own: a thread of it turns in a circle for ever."""
    script = Path(__file__).with_name("hanging_service.py")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        capture_output=True,
        text=True,
        timeout=400,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
