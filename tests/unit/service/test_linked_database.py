"""A database that is named by a symbolic link is the file that the link leads to, with its WAL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import duckdb

from chronoduck.assembly import DuckDBService
from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import restore_database
from chronoduck.settings import ReplicaSettings, Settings
from tests.patience import PATIENCE_SECONDS


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
            while (await service.get_replication_status())["transactions"] < 5:
                await asyncio.sleep(0.02)
        restore_database(open_archive(made), tmp_path / "out.db")
    with duckdb.connect(str(tmp_path / "out.db"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchall() == [(5,)]
    assert link.is_symlink()
    assert [path.name for path in link.parent.iterdir()] == ["a.db"]
