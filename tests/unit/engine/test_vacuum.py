"""Checkpoints move rows only while nobody writes: a failed one never makes a write hit other rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.database import Connection, DuckDBInstance
from chronoduck.errors import DuckDBException
from chronoduck.settings import CheckpointSettings, Settings
from tests.patience import PATIENCE_SECONDS

ROWS = 300_000
_LATE = 150_000
"""A row behind deleted ones, which a checkpoint moves."""
_NEVER = CheckpointSettings(log_size="1TB", commits=10**9, interval=3600, replay=3600)
"""The service begins no checkpoint of its own."""
_OTHERS = f"SELECT count(*), sum(k), sum(v) FROM t WHERE k <> {_LATE}"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Rows with many deleted before them, and a table that makes the next checkpoint take a while."""
    path = tmp_path / "a.db"
    with duckdb.connect(
        str(path), config={"storage_compatibility_version": "v1.5.0"}
    ) as connection:
        connection.execute(f"CREATE TABLE t AS SELECT range AS k, 0 AS v FROM range({ROWS})")
        connection.execute(
            "CREATE TABLE wide AS SELECT range AS a, md5(range::VARCHAR) AS b FROM range(800_000)"
        )
        connection.execute("CHECKPOINT")
        connection.execute("DELETE FROM t WHERE k < 240_000 AND k % 5 > 0")
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
    path.chmod(0o600)
    return path


@pytest.fixture
def aborts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first instance's checkpoints fail before the header, as on a disk that is full."""
    configure = DuckDBInstance._configure

    def and_abort(self: DuckDBInstance, root: Connection) -> None:
        if not self.generation:
            root.execute("SET GLOBAL debug_checkpoint_abort = 'before_header'")
        configure(self, root)

    monkeypatch.setattr(DuckDBInstance, "_configure", and_abort)


@pytest.mark.usefixtures("aborts")
@pytest.mark.parametrize("by", ["a user", "the service"])
@pytest.mark.parametrize("change", ["DELETE FROM t", "UPDATE t SET v = 1"])
async def test_a_write_that_waited_for_a_checkpoint_that_fails_hits_its_own_row(
    make_settings: Callable[..., Settings], database: Path, by: str, change: str
) -> None:
    settings = make_settings(database_path=database, checkpoint=_NEVER)
    async with DuckDBService(settings) as service:
        before = (await service.execute_query(_OTHERS)).data
        await service.execute_query("UPDATE wide SET b = md5(b)")
        checkpointer = (await service.parts()).checkpointer
        run = service.execute_query("CHECKPOINT") if by == "a user" else checkpointer.checkpoint()
        checkpoint = asyncio.ensure_future(run)
        size = database.stat().st_size
        async with asyncio.timeout(PATIENCE_SECONDS):
            while database.stat().st_size == size:  # until it writes
                await asyncio.sleep(0.001)
        try:
            await service.execute_query(f"{change} WHERE k = {_LATE}")
        except DuckDBException:
            is_acknowledged = False
        else:
            is_acknowledged = True
        with pytest.raises(DuckDBException, match=r"abort|fatal"):
            await checkpoint
        assert (await service.execute_query(_OTHERS)).data == before
        late = (await service.execute_query(f"SELECT v FROM t WHERE k = {_LATE}")).data
        changed = [] if change.startswith("DELETE") else [(1,)]
        assert late == changed or (not is_acknowledged and late == [(0,)])
        assert (await service.health_check())["healing"]["count"] == 1


async def _last_row_id(service: DuckDBService) -> int:
    return int((await service.execute_query("SELECT max(rowid) FROM t")).data[0][0])


async def test_rows_move_only_while_nobody_writes(
    make_settings: Callable[..., Settings], database: Path
) -> None:
    settings = make_settings(database_path=database, checkpoint=_NEVER)
    async with DuckDBService(settings) as service:
        checkpointer = (await service.parts()).checkpointer
        change = f"UPDATE t SET v = v + 1 WHERE k = {_LATE}"
        await service.execute_query(change)
        await checkpointer._gate.enter(1.0)  # a writer that has not begun in the engine
        await checkpointer.checkpoint()
        await service.execute_query(change)
        await service.execute_query("CHECKPOINT")
        assert await _last_row_id(service) == ROWS - 1
        checkpointer._gate.leave()
        await service.execute_query(change)
        await checkpointer.checkpoint()
        assert await _last_row_id(service) == ROWS - 240_000 * 4 // 5 - 1
        assert (await service.execute_query(f"SELECT v FROM t WHERE k = {_LATE}")).data == [(3,)]
        setting = await service.execute_query("SELECT current_setting('max_vacuum_tasks')")
        assert setting.data == [(0,)]
