"""Full volumes: of database, replica, backups, spill files. Nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.disk_guard import DiskFloorError, DiskGuard
from chronoduck.errors import BatchError, DiskFullError, DuckDBException, OutOfMemoryError
from chronoduck.settings import BackupSettings, ReplicaSettings, Settings, ShadowSettings
from tests.fault.volumes import fill, free, small_volume
from tests.patience import PATIENCE_SECONDS
from tests.server import run_cli

pytestmark = pytest.mark.slow
MakeSettings = Callable[..., Settings]


async def until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.05)


async def count(service: DuckDBService) -> int:
    return int((await service.execute_query("SELECT count(*) FROM t")).data[0][0])


async def test_below_the_floor_writes_are_refused_and_go_on_by_themselves(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    with small_volume(tmp_path / "data", 100) as volume:
        settings = make_settings(disk_floor="30MB", ballast_size="8MB")
        async with DuckDBService(settings) as service:
            await service.execute_query("CREATE TABLE t AS SELECT range AS a FROM range(1000)")
            assert (volume / "test.db.ballast").stat().st_size == 8_000_000
            stuffing = fill(volume, leave=20_000_000)
            await asyncio.sleep(0.6)
            with pytest.raises(DiskFloorError) as refused:
                await service.execute_query("INSERT INTO t VALUES (1)")
            assert refused.value.http_status == 507
            assert "DUCKDB_DISK_FLOOR" in refused.value.hint
            assert str(volume) not in refused.value.detail + refused.value.hint
            with pytest.raises(BatchError) as batch:
                await service.execute_batch(["SELECT 1", "INSERT INTO t VALUES (1)"])
            assert isinstance(batch.value.cause, DiskFloorError)
            told = (batch.value.http_status, batch.value.code, batch.value.retryable)
            assert told == (507, "disk_floor", True)
            with pytest.raises(DiskFloorError):
                async with service.transaction() as tx:
                    await tx.execute("INSERT INTO t VALUES (1)")
            # Reads, and what frees space, go on.
            assert await count(service) == 1000
            assert len(await service.execute_batch(["SELECT 1", "SELECT 2"])) == 2
            await service.execute_query("DELETE FROM t WHERE a < 100")
            await service.execute_query("CHECKPOINT")
            report = await service.health_check()
            assert report["components"]["disk"]["status"] == "unhealthy"
            assert report["circuit_breaker"]["state"] == "closed"
            stuffing.unlink()
            await asyncio.sleep(0.6)
            await service.execute_query("INSERT INTO t VALUES (1)")
            assert await count(service) == 901
            assert (await service.health_check())["components"]["disk"]["status"] == "healthy"
        assert not (volume / "test.db.ballast").exists()


async def test_a_bulk_insert_that_fills_the_disk_costs_only_itself(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    with small_volume(tmp_path / "data", 100) as volume:
        settings = make_settings(disk_floor="30MB", ballast_size="8MB")
        async with DuckDBService(settings) as service:
            await service.execute_query("CREATE TABLE t AS SELECT range AS a FROM range(200000)")
            before = settings.database_path.stat().st_size
            with pytest.raises(DiskFullError):
                await service.execute_query(
                    "INSERT INTO t SELECT hash(range) // 4 FROM range(30000000)", timeout=240
                )
            # The space comes back without anybody's help, and so do writes.
            await until(lambda: free(volume) > 40_000_000)
            end = time.monotonic() + PATIENCE_SECONDS
            while True:
                try:
                    await service.execute_query("INSERT INTO t VALUES (-1)", timeout=5)
                    break
                except DuckDBException:
                    assert time.monotonic() < end
                    await asyncio.sleep(0.1)
            assert await count(service) == 200_001
            assert settings.database_path.stat().st_size < before + 10_000_000
            assert service.circuit_breaker.get_status()["state"] == "closed"
        async with DuckDBService(settings) as service:
            assert await count(service) == 200_001


async def test_a_write_under_way_cannot_eat_what_giving_space_back_needs(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    """That takes a commit and a checkpoint; without space for them writes would stay refused."""
    left = []
    with small_volume(tmp_path / "data", 40) as volume:

        async def reclaim() -> None:
            left.append(free(volume))

        guard = DiskGuard(make_settings(disk_floor="20MB", ballast_size="8MB"), reclaim)
        await guard.start()
        fill(volume, leave=1_000_000)
        guard.look()
        guard.tend()
        assert free(volume) > 4_000_000
        (volume / "written").write_bytes(bytes(free(volume)))
        guard.look()
        guard.tend()
        assert free(volume) < 1_000_000
        guard.note_full()
        await until(lambda: bool(left))
        assert left[0] > 3_000_000
        for path in volume.iterdir():
            path.unlink()
        await until(lambda: (volume / "test.db.ballast").exists())
        stuffing = fill(volume, leave=1_000_000)
        await until(lambda: free(volume) > 4_000_000)  # half of it, which nobody needs then
        stuffing.unlink()
        await until(lambda: (volume / "test.db.ballast").stat().st_size == 8_000_000)
        assert not guard.is_refusing
        await guard.stop()


async def test_small_commits_until_the_disk_is_full_are_all_there_afterwards(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    with small_volume(tmp_path / "data", 20) as volume:
        settings = make_settings(disk_floor=0)
        acknowledged = 0
        async with DuckDBService(settings) as service:
            await service.execute_query("CREATE TABLE t (a INTEGER, b VARCHAR)")
            stuffing = fill(volume, leave=300_000)
            for number in range(100_000):
                try:
                    await service.execute_query(
                        "INSERT INTO t VALUES (?, repeat('x', 1000))", [number]
                    )
                except DuckDBException:
                    break
                acknowledged += 1
            assert 50 < acknowledged < 2000
            assert await count(service) == acknowledged
            stuffing.unlink()
            await service.execute_query("INSERT INTO t VALUES (-1, '')", timeout=240)
        async with DuckDBService(settings) as service:
            assert await count(service) == acknowledged + 1


async def test_a_full_replica_volume_slows_nobody_and_catches_up(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    with small_volume(tmp_path / "replica", 20) as volume:
        given = ReplicaSettings(url=str(volume), interval=0.05)
        settings = make_settings(replica=given)
        async with DuckDBService(settings) as service:
            await service.execute_query("CREATE TABLE t AS SELECT range AS a FROM range(1000)")
            stuffing = fill(volume, leave=0)

            async def state() -> str:
                return str((await service.get_replication_status())["state"])

            for _ in range(30):
                await service.execute_query(
                    "INSERT INTO t SELECT hash(range) % 1000000007 FROM range(20000)"
                )
            end = time.monotonic() + PATIENCE_SECONDS
            while await state() != "failing":
                assert time.monotonic() < end
                await asyncio.sleep(0.05)
            for _ in range(100):
                await service.execute_query("INSERT INTO t VALUES (1)")
            rows = await count(service)
            report = await service.health_check()
            assert report["status"] in ("healthy", "degraded")
            stuffing.unlink()
            end = time.monotonic() + PATIENCE_SECONDS
            while await state() != "following":
                assert time.monotonic() < end, await service.get_replication_status()
                await asyncio.sleep(0.1)
        output = tmp_path / "restored.db"
        restored = run_cli(
            tmp_path,
            *("restore", "--output", str(output), "--verify", "full"),
            DUCKDB_REPLICA_URL=str(volume),
        )
        assert restored.returncode == 0, restored.stderr
        found = run_cli(tmp_path, "query", "-d", str(output), "SELECT count(*) FROM t", "--json")
        assert f"[[{rows}]]" in found.stdout.replace(" ", "").replace("\n", "")


async def test_a_full_backup_volume_fails_the_backup_and_leaves_nothing(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    with small_volume(tmp_path / "backups", 30) as volume:
        settings = make_settings(backup=BackupSettings(dir=volume))
        async with DuckDBService(settings) as service:
            await service.execute_query(
                "CREATE TABLE t AS SELECT hash(range) AS a FROM range(3000000)"
            )
            used = free(volume)
            jobs, backups = (await service.parts()).jobs, (await service.parts()).backups
            job = await jobs.wait(backups.create())
            assert job.state == "failed"
            assert job.error is not None
            assert "free" in job.error["detail"]
            assert used - free(volume) < 100_000
            assert (await service.health_check())["components"]["backup"]["status"] == "degraded"
            await service.execute_query("INSERT INTO t VALUES (1)")


async def test_a_full_spill_volume_costs_only_the_statement_that_spills(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    with small_volume(tmp_path / "spill", 30) as volume:
        settings = make_settings(temp_directory=volume, memory_limit="200MB", max_temp_size="1GB")
        async with DuckDBService(settings) as service:
            await service.execute_query("CREATE TABLE t AS SELECT range AS a FROM range(10)")
            for _ in range(8):
                with pytest.raises((DiskFullError, OutOfMemoryError)):
                    await service.execute_query(
                        "SELECT count(*) FROM (SELECT DISTINCT hash(range)::VARCHAR || range "
                        "FROM range(20000000))",
                        timeout=240,
                    )
            assert await count(service) == 10
            await service.execute_query("INSERT INTO t VALUES (1)")
            assert service.circuit_breaker.get_status()["state"] == "closed"


async def test_spill_files_on_the_volume_of_the_database_leave_two_floors(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    """DuckDB does not say whose they are: who spilled the most is ended, and writes go on."""
    floor = 50_000_000
    with small_volume(tmp_path / "data", 400) as volume:
        settings = make_settings(
            temp_directory=volume / "temp",
            memory_limit="200MB",
            disk_floor=floor,
            ballast_size="5MB",
        )
        async with DuckDBService(settings) as service:
            await service.execute_query("CREATE TABLE t AS SELECT range AS a FROM range(10)")
            fill(volume, leave=3 * floor)
            left = [free(volume)]

            async def watch() -> None:
                while True:
                    await asyncio.sleep(0.01)
                    left.append(free(volume))

            watching = asyncio.create_task(watch())
            with pytest.raises((DiskFullError, OutOfMemoryError)):
                await service.execute_query(
                    "SELECT count(*) FROM (SELECT DISTINCT hash(range)::VARCHAR || range "
                    "FROM range(20000000))",
                    timeout=240,
                )
            await service.execute_query("INSERT INTO t VALUES (1)")
            watching.cancel()
            assert min(left) < 2.7 * floor  # it did spill
            assert min(left) > floor  # four looks a second: it was ended below two floors
            assert await count(service) == 11


async def test_the_copy_of_the_shadow_leaves_two_floors_and_comes_back(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    floor = 30_000_000
    with small_volume(tmp_path / "data", 200) as volume:
        settings = make_settings(
            disk_floor=floor,
            ballast_size=0,
            shadow=ShadowSettings(enabled=True, cpu_percent=100),
        )
        async with DuckDBService(settings) as service:
            await service.execute_query(
                "CREATE TABLE t AS SELECT hash(range) AS a FROM range(3000000)"
            )
            await service.execute_query("CHECKPOINT")
            stuffing = fill(volume, leave=int(2.4 * floor))
            copy = settings.shadow_path / "test.db"

            async def shadow() -> dict[str, Any]:
                found: dict[str, Any] = (await service.health_check())["components"]["shadow"]
                return found

            async def status_is(status: str) -> None:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while (await shadow())["status"] != status:
                        assert free(volume) > 1.9 * floor or not copy.exists()
                        await asyncio.sleep(0.05)

            await status_is("degraded")
            assert "does not fit" in (await shadow())["reason"]
            await service.execute_query("INSERT INTO t VALUES (1)")
            assert not copy.exists()
            stuffing.unlink()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not copy.exists():
                    await asyncio.sleep(0.05)
            await status_is("healthy")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("rows.csv", b"12345678,12345678,12345678\n"),
        ("captures.cdx", b"com,a)/ 20240101000000 http://a.com/ text/html 200 SHA 12\n"),
    ],
)
async def test_a_full_spool_is_not_the_fault_of_the_file_that_is_loaded(
    make_settings: MakeSettings, tmp_path: Path, name: str, line: bytes
) -> None:
    """With a status of the caller's fault its client would drop the rows."""
    file = tmp_path / name
    file.write_bytes(line * 1_000_000)
    async with DuckDBService(make_settings()) as service:
        parts = service._parts
        assert parts is not None
        with small_volume(tmp_path / "full", 8) as volume, file.open("rb") as source:
            parts.loader._spool_directory = volume
            with pytest.raises(DiskFullError) as full:
                async for event in parts.loader.load(source, name=name):
                    del event
    assert (full.value.http_status, full.value.retryable) == (507, True)
