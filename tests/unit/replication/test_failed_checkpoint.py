"""A replica goes on after a failed checkpoint whose entry stood between two transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.database import DuckDBInstance
from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import restore_database
from chronoduck.replication.verification import verify_replica
from chronoduck.settings import ReplicaSettings, Settings
from tests.damaged_wal import checkpoint_entry, leave_failed_checkpoint
from tests.fault.test_engine_failures import fill_the_log, strike
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow


async def shipped(service: DuckDBService, commits: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await service.get_replication_status())["transactions"] < commits:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("torn", [0, 45])
@pytest.mark.parametrize("behind", [1, 3])
async def test_the_replica_has_every_transaction(
    make_settings: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    torn: int,
    behind: int,
) -> None:
    settings = make_settings(replica=ReplicaSettings(url=str(tmp_path / "replica"), interval=0.02))
    entry = checkpoint_entry(tmp_path)
    close = DuckDBInstance._close_root

    def close_and_insert(self: DuckDBInstance) -> None:
        close(self)
        leave_failed_checkpoint(settings.database_path, entry, torn, behind)

    async with DuckDBService(settings) as service:
        await fill_the_log(service)
        for _ in range(3):
            await service.execute_query("INSERT INTO t VALUES (-1)")
        monkeypatch.setattr(DuckDBInstance, "_close_root", close_and_insert)
        await strike(service, settings)
        before = (await service.get_replication_status())["transactions"]
        assert (await service.execute_query("SELECT count(*) FROM t")).data == [(101_003,)]
        monkeypatch.undo()
        await service.execute_query("INSERT INTO t VALUES (-2)")
        await shipped(service, before + 1)
        await service.execute_query("INSERT INTO t VALUES (-3)")
        await shipped(service, before + 2)
        assert (await service.health_check())["status"] == "healthy"
    restored = tmp_path / "restored.db"
    restore_database(open_archive(settings), restored)
    with duckdb.connect(str(restored), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchall() == [(101_005,)]
    with ThreadPoolExecutor(2) as executor:
        assert not verify_replica(open_archive(settings), executor).damages
