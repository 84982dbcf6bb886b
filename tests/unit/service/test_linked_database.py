"""A database that is named by a symbolic link is the file that the link leads to, with its WAL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import duckdb

from chronoduck.assembly import DuckDBService
from chronoduck.replication.failures import RestoreTargetError
from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import restore_database
from chronoduck.settings import ReplicaSettings, Settings
from tests.patience import PATIENCE_SECONDS


def _rows_in_replica(settings: Settings, output: Path) -> int:
    output.unlink(missing_ok=True)
    try:
        restore_database(open_archive(settings), output)
        with duckdb.connect(str(output), read_only=True) as connection:
            found = connection.execute("SELECT count(*) FROM t").fetchone()
    except (RestoreTargetError, duckdb.CatalogException):  # no point with the table yet
        return 0
    return int(found[0]) if found else 0


async def test_what_is_written_through_a_link_is_in_the_replica(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "a.db"
    link.symlink_to(tmp_path / "volume" / "real.db")
    made = make_settings(
        database_path=link, replica=ReplicaSettings(url=str(tmp_path / "replica"), interval=0.02)
    )
    async with DuckDBService(made) as service:
        await service.execute_query("CREATE TABLE t (a INTEGER)")
        await service.execute_query("CHECKPOINT")
        for number in range(5):
            await service.execute_query(f"INSERT INTO t VALUES ({number})")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await asyncio.to_thread(_rows_in_replica, made, tmp_path / "out.db") < 5:
                await asyncio.sleep(0.02)
    assert link.is_symlink()
    assert [path.name for path in link.parent.iterdir()] == ["a.db"]
