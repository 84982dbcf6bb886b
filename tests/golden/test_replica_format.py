"""A replica written by the first version of the format: every later version must restore it.

``python -m tests.golden.test_replica_format`` makes one; do that only for a new format.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import restore_database
from chronoduck.replication.restore_plan import list_points
from chronoduck.replication.verification import verify_replica
from chronoduck.settings import ReplicaSettings, load_settings

HERE = Path(__file__).parent
KEY = "AGE-SECRET-KEY-1YDQDWGXZWM3UWHP366XL0AQTMQDK60EKK7D8LEU9D8GUW5V7EFJQPHV6G9"
"""Of this test's replica alone."""


@pytest.mark.parametrize("name", ["plain", "encrypted"])
def test_the_first_format_is_read(name: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(HERE / "replica-format-1" / name, store)
    key = KEY if name == "encrypted" else None
    settings = load_settings(replica=ReplicaSettings(url=str(store), encryption_key=key))
    archive = open_archive(settings)
    with ThreadPoolExecutor(2) as executor:
        assert verify_replica(archive, executor).damages == ()
        points = list_points(archive, archive.listing(), executor)
    assert [point.commits for point in points][-1] == 6
    for point, count in ((points[-1], 1004), (points[-3], 1003)):
        output = tmp_path / f"{point.time_us}.db"
        restore_database(archive, output, to_us=point.time_us, verify="full")
        with duckdb.connect(str(output), read_only=True) as connection:
            assert connection.execute("SELECT count(*), min(a) FROM t").fetchone() == (count, 0)


async def _make(directory: Path, key: str | None) -> None:
    from chronoduck.assembly import DuckDBService

    scratch = Path(tempfile.mkdtemp())
    settings = load_settings(
        database_path=scratch / "test.db",
        temp_directory=scratch / "temp",
        ballast_size=0,
        replica=ReplicaSettings(url=str(directory), encryption_key=key, interval=0.02),
    )
    async with DuckDBService(settings) as service:
        await service.execute_query("CREATE TABLE t AS SELECT range AS a FROM range(1000)")
        await service.execute_query("CHECKPOINT")
        for number in range(5):
            if number < 4:
                await service.execute_query("INSERT INTO t VALUES (?)", [number])
            else:
                await service.execute_query("CREATE VIEW v AS SELECT * FROM t")
            await asyncio.sleep(0.3)
        parts = service._parts
        assert parts is not None
        assert parts.link is not None
        ignored = shutil.ignore_patterns("lease", ".lock")  # they name this machine
        shutil.copytree(directory, directory.with_name(directory.name + "-copy"), ignore=ignored)
    shutil.rmtree(directory)
    directory.with_name(directory.name + "-copy").rename(directory)


if __name__ == "__main__":
    for name, key in (("plain", None), ("encrypted", KEY)):
        shutil.rmtree(HERE / "replica-format-1" / name, ignore_errors=True)
        asyncio.run(_make(HERE / "replica-format-1" / name, key))
