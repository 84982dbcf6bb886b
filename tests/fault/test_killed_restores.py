"""A restore that is killed leaves nothing half: the next one brings everything back."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.inspection import inspect_database
from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import restore_database
from chronoduck.settings import ReplicaSettings, Settings

pytestmark = pytest.mark.slow
ROUNDS = 25


def recover(settings: Settings) -> None:
    """Do what ``chronoduck recover`` does."""
    restore_database(
        open_archive(settings), settings.database_path, verify="full", replace="corrupt", graft=True
    )


async def test_a_killed_recovery_is_simply_run_again(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = make_settings(replica=ReplicaSettings(url=str(tmp_path / "replica"), interval=0.02))
    async with DuckDBService(settings) as service:
        await service.execute_query("CREATE TABLE t AS SELECT hash(range) AS a FROM range(2000000)")
        await service.execute_query("CHECKPOINT")
        await service.execute_query("INSERT INTO t VALUES (1)")
    database = settings.database_path
    expected = inspect_database(database, full=True).tables
    context = multiprocessing.get_context("forkserver")
    choice = random.Random(5)
    started = time.monotonic()
    recover(settings)
    usual = time.monotonic() - started
    killed = 0
    for _ in range(ROUNDS):
        process = context.Process(target=recover, args=(settings,))
        process.start()
        time.sleep(choice.uniform(0.0, usual * 1.5))
        assert process.pid is not None
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.join()
        if database.exists():  # whole, whenever it has its name
            with duckdb.connect(str(database), read_only=True) as connection:
                assert connection.execute("SELECT count(*) FROM t").fetchone() == (2_000_001,)
        for old in database.parent.glob("*.corrupt-*"):
            old.unlink()
    assert killed > ROUNDS / 4
    recover(settings)
    assert inspect_database(database, full=True).tables == expected
    assert not list(database.parent.glob(".*.restoring*"))
