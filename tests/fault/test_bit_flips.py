"""One bit anywhere: in replica, backups, database or log. It is noticed, or it changed nothing."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.backup.take import take_backup
from chronoduck.backup.verification import verify_backup
from chronoduck.engine.inspection import inspect_database
from chronoduck.errors import DuckDBException
from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import restore_database
from chronoduck.replication.verification import verify_replica
from chronoduck.settings import BackupSettings, ReplicaSettings, Settings
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow
MakeSettings = Callable[..., Settings]
FLIPS = 120


@pytest.fixture
async def whole(make_settings: MakeSettings, tmp_path: Path) -> Settings:
    """Settings of a closed database with a replica, a backup, and a log that was not folded."""
    settings = make_settings(
        replica=ReplicaSettings(url=str(tmp_path / "replica"), interval=0.02, scrub_rate=0),
        backup=BackupSettings(dir=tmp_path / "backups"),
    )
    async with DuckDBService(settings) as service:
        await service.execute_query(
            "CREATE TABLE t AS SELECT range AS a, 'text ' || range AS b FROM range(100000)"
        )
        await service.execute_query("CHECKPOINT")
        for number in range(40):
            await service.execute_query("INSERT INTO t VALUES (?, 'more')", [number])
        copy = tmp_path / "copy"
        parts = service._parts
        assert parts is not None
        assert parts.link is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            while parts.link.status.commits < 41:
                await asyncio.sleep(0.02)
        shutil.copytree(settings.database_path.parent, copy)  # as a crash leaves it
    shutil.rmtree(settings.database_path.parent)
    copy.rename(settings.database_path.parent)
    shutil.rmtree(tmp_path / "backups", ignore_errors=True)
    take_backup(settings)
    return settings


def flip(path: Path, choice: random.Random) -> bytes:
    """Change one bit; return what was there."""
    old = path.read_bytes()
    data = bytearray(old)
    data[choice.randrange(len(data))] ^= 1 << choice.randrange(8)
    path.write_bytes(data)
    return old


def content(path: Path) -> object:
    return inspect_database(path, full=True).tables


async def test_a_damaged_replica_is_never_restored_silently(
    whole: Settings, tmp_path: Path
) -> None:
    choice = random.Random(1)
    archive = open_archive(whole)
    reference = tmp_path / "reference.db"
    restore_database(archive, reference)
    expected = content(reference)
    blobs = [
        path for path in (tmp_path / "replica").rglob("*") if path.is_file() and path.stat().st_size
    ]
    executor = ThreadPoolExecutor(2)
    noticed = 0
    for number in range(FLIPS):
        blob = choice.choice(blobs)
        old = flip(blob, choice)
        output = tmp_path / f"restored-{number}.db"
        try:
            restore_database(archive, output)
        except DuckDBException:
            noticed += 1
            assert not output.exists()
        else:
            assert content(output) == expected, blob
        if blob.name not in ("replica", "lease"):  # verify reads the older points too
            assert verify_replica(archive, executor).damages, blob
        blob.write_bytes(old)
        output.unlink(missing_ok=True)
    executor.shutdown()
    assert noticed > FLIPS / 6
    restore_database(archive, tmp_path / "again.db")
    assert content(tmp_path / "again.db") == expected


async def test_a_damaged_backup_is_never_taken_for_whole(whole: Settings, tmp_path: Path) -> None:
    choice = random.Random(2)
    backup = next((tmp_path / "backups").glob("2*/*.zst"))
    for _ in range(FLIPS // 3):
        old = flip(backup, choice)
        with pytest.raises(DuckDBException):
            verify_backup(backup, whole.backup, tmp_path)
        backup.write_bytes(old)
    verify_backup(backup, whole.backup, tmp_path)


async def test_a_damaged_database_gives_no_wrong_rows(whole: Settings, tmp_path: Path) -> None:
    choice = random.Random(3)
    database = tmp_path / "plain.db"
    shutil.copy(whole.database_path, database)
    expected = content(database)
    noticed = 0
    for _ in range(FLIPS):
        old = flip(database, choice)
        try:
            assert content(database) == expected
        except DuckDBException:
            noticed += 1
        database.write_bytes(old)
    assert noticed > FLIPS / 4


async def test_a_damaged_log_stops_the_start_or_changes_nothing(
    whole: Settings, tmp_path: Path
) -> None:
    choice = random.Random(4)
    data = whole.database_path.parent
    kept, replica = tmp_path / "kept", tmp_path / "kept-replica"
    shutil.copytree(data, kept)
    shutil.copytree(tmp_path / "replica", replica)
    for _ in range(20):
        flip(data / "test.db.wal", choice)
        try:
            async with DuckDBService(whole) as service:
                rows = await service.execute_query("SELECT count(*) FROM t")
        except DuckDBException:
            pass
        else:
            assert rows.data == [(100_040,)]
        for path, source in ((data, kept), (tmp_path / "replica", replica)):
            shutil.rmtree(path)
            shutil.copytree(source, path)
