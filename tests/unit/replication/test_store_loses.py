"""What the store loses while the service runs is noticed, told, and shipped again."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import restore_database
from chronoduck.replication.verification import verify_replica
from chronoduck.settings import ReplicaSettings, Settings
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow
ROWS = 50_000
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@pytest.fixture
def settings(make_settings: Callable[..., Settings], tmp_path: Path) -> Settings:
    return make_settings(
        replica=ReplicaSettings(url=str(tmp_path / "replica"), interval=0.02, scrub_rate=0)
    )


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[DuckDBService]:
    async with DuckDBService(settings) as service:
        await service.execute_query(
            f"CREATE TABLE t AS SELECT range AS a, md5(range::VARCHAR) AS b FROM range({ROWS})"
        )
        await service.execute_query("CHECKPOINT")
        await service.execute_query("INSERT INTO t VALUES (-1, '')")
        await shipped(service)
        yield service


async def shipped(service: DuckDBService) -> dict[str, Any]:
    """Return the status once all that was committed before is in the replica."""
    loop = asyncio.get_running_loop()
    called = loop.time()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            report = await service.get_replication_status()
            lag = report["lag_seconds"]
            if report["state"] == "following" and lag is not None and lag < loop.time() - called:
                return report
            await asyncio.sleep(0.02)


async def noticed(service: DuckDBService, words: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while words not in (await service.get_replication_status())["notice"]:
            await asyncio.sleep(0.02)
    health = await service.health_check()
    assert health["components"]["replica"]["status"] == "degraded"


def restored_rows(settings: Settings, output: Path) -> int:
    restore_database(open_archive(settings), output, verify="full")
    with duckdb.connect(str(output), read_only=True) as connection:
        found = connection.execute("SELECT count(*) FROM t").fetchone()
    assert found
    return int(found[0])


def exchange(one: Path, other: Path) -> None:
    """Give two directories each other's names at once: in no moment is there none."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, bytes(one), _AT_FDCWD, bytes(other), _RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), "renameat2")


def damages(settings: Settings) -> tuple[str, ...]:
    with ThreadPoolExecutor(2) as executor:
        return verify_replica(open_archive(settings), executor).damages


@pytest.mark.parametrize("when", ["idle", "writing"])
async def test_a_store_that_goes_back_in_time_is_noticed(
    service: DuckDBService, settings: Settings, tmp_path: Path, when: str
) -> None:
    replica = tmp_path / "replica"
    shutil.copytree(replica, tmp_path / "older")
    for number in range(3):
        await service.execute_query("INSERT INTO t VALUES (-2, '')")
        if number == 1:
            await service.execute_query("CHECKPOINT")
        await shipped(service)
    exchange(replica, tmp_path / "older")
    if when == "writing":
        for _ in range(5):
            await service.execute_query("INSERT INTO t VALUES (-3, '')")
            await asyncio.sleep(0.05)
    await noticed(service, "holds no" if when == "writing" else "any more")
    await service.execute_query("INSERT INTO t VALUES (-4, '')")
    await shipped(service)
    assert restored_rows(settings, tmp_path / "out.db") == ROWS + (10 if when == "writing" else 5)
    assert any("is missing" in text or "no base" in text for text in damages(settings))


@pytest.mark.parametrize("how", ["lost", "rotten"])
async def test_a_pack_that_is_lost_or_spoilt_is_shipped_again(
    service: DuckDBService, settings: Settings, tmp_path: Path, how: str
) -> None:
    pack = max((tmp_path / "replica" / "packs").iterdir(), key=lambda path: path.stat().st_size)
    if how == "lost":
        pack.unlink()
    else:
        data = bytearray(pack.read_bytes())
        data[len(data) // 2] ^= 4
        pack.write_bytes(data)
    await service.execute_query("INSERT INTO t VALUES (-2, '')")
    await service.execute_query("CHECKPOINT")
    await noticed(service, pack.name)
    await shipped(service)
    assert restored_rows(settings, tmp_path / "out.db") == ROWS + 2


async def test_the_slow_scrub_finds_what_no_listing_tells(
    settings: Settings, tmp_path: Path, service: DuckDBService
) -> None:
    """A disk that rots leaves names, sizes and times as they were."""
    await service.shutdown()
    pack = max((tmp_path / "replica" / "packs").iterdir(), key=lambda path: path.stat().st_size)
    stat = pack.stat()
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 4
    pack.write_bytes(data)
    os.utime(pack, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    async with DuckDBService(settings) as again:
        await noticed(again, pack.name)
        await shipped(again)
        assert restored_rows(settings, tmp_path / "out.db") == ROWS + 1


async def test_a_bare_mount_point_is_no_new_replica(
    service: DuckDBService, settings: Settings, tmp_path: Path
) -> None:
    await service.shutdown()
    replica, away = tmp_path / "replica", tmp_path / "away"
    replica.rename(away)
    replica.mkdir()
    async with DuckDBService(settings) as again:
        await again.execute_query("INSERT INTO t VALUES (-2, '')")
        job = await (await again.parts()).compaction.begin()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while job.state == "running":
                await asyncio.sleep(0.02)
        assert job.state == "succeeded", job
        assert job.result is not None
        assert (
            job.result["writers_waited_seconds"] < 40
        )  # it was 62: the time for shipping the rest
        await asyncio.sleep(1.0)
        report = await again.get_replication_status()
        assert report["state"] == "failing"
        assert "is not in" in report["error"]
        assert "adopt" in report["hint"]
        assert list(replica.iterdir()) == []
        replica.rmdir()
        away.rename(replica)
        await again.execute_query("INSERT INTO t VALUES (-3, '')")
        await shipped(again)
    assert damages(settings) == ()
    assert restored_rows(settings, tmp_path / "out.db") == ROWS + 3
