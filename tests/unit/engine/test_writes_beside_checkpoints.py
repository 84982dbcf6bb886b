"""No writer is in the engine during a checkpoint: a failed one never makes a write hit other rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
_NEVER: dict[str, Any] = {"log_size": "1TB", "commits": 10**9, "interval": 3600, "replay": 3600}
"""The service begins no checkpoint of its own."""
_OTHERS = f"SELECT count(*), sum(k), sum(v) FROM t WHERE k <> {_LATE}"
_MERGED, _DROPPED = "k < 240_000 AND k % 5 > 0", "k < 122_880"
"""Which rows are deleted, so that a checkpoint merges row groups, or drops one."""
_DELETE, _UPDATE = "DELETE FROM t", "UPDATE t SET v = 1"
_INDEX = "CREATE INDEX i ON t (k)"


def _make(path: Path, deleted: str, index: str) -> None:
    """Rows with deleted ones before them, and a table that makes the next checkpoint take a while."""
    with duckdb.connect(
        str(path), config={"storage_compatibility_version": "v1.5.0"}
    ) as connection:
        connection.execute(f"CREATE TABLE t AS SELECT range AS k, 0 AS v FROM range({ROWS})")
        connection.execute(
            "CREATE TABLE wide AS SELECT range AS a, md5(range::VARCHAR) AS b FROM range(800_000)"
        )
        connection.execute(index)
        connection.execute("CHECKPOINT")
        connection.execute(f"DELETE FROM t WHERE {deleted}")
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
    path.chmod(0o600)


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
@pytest.mark.parametrize(
    ("by", "deleted", "index", "change", "timeout"),
    [
        ("a user", _MERGED, "", _UPDATE, 120),
        ("a user", _DROPPED, "", _DELETE, 120),
        ("a user", _MERGED, _INDEX, _DELETE, 120),
        ("the service", _MERGED, "", _DELETE, 120),
        ("the service", _DROPPED, "", _UPDATE, 120),
        ("the service", _MERGED, "", _DELETE, 0.05),  # it counts as one that does not end
    ],
)
async def test_a_write_beside_a_checkpoint_that_fails_hits_its_own_row(
    make_settings: Callable[..., Settings],
    tmp_path: Path,
    by: str,
    deleted: str,
    index: str,
    change: str,
    timeout: float,
) -> None:
    database = tmp_path / "a.db"
    _make(database, deleted, index)
    checkpoints = CheckpointSettings(**_NEVER, timeout=timeout)
    settings = make_settings(database_path=database, checkpoint=checkpoints)
    async with DuckDBService(settings) as service:
        before = (await service.execute_query(_OTHERS)).data
        await service.execute_query("UPDATE wide SET b = md5(b)")
        checkpointer = (await service.parts()).checkpointer
        run = service.execute_query("CHECKPOINT") if by == "a user" else checkpointer.checkpoint()
        checkpoint = asyncio.ensure_future(run)
        before_it = database.stat().st_mtime_ns
        async with asyncio.timeout(PATIENCE_SECONDS):
            while database.stat().st_mtime_ns == before_it and not checkpoint.done():
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
        assert is_acknowledged or timeout < 1
        assert (await service.health_check())["healing"]["count"] == 1
