"""A replica of which something is lost or changed: it is told, and the best of it is restored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DatabaseFormatError, DuckDBConnectionError
from chronoduck.replication.failures import ReplicaDamagedError
from chronoduck.replication.local_state import state_path
from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import recover_database, restore_database
from chronoduck.replication.restore_plan import list_points
from chronoduck.replication.verification import verify_replica
from chronoduck.settings import ReplicaSettings, Settings
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow
INSERTS = 4
"""Of one row each, each in a segment of its own, in a generation of its own."""


@pytest.fixture
async def settings(make_settings: Callable[..., Settings], tmp_path: Path) -> Settings:
    """A stopped database whose replica holds a few generations with a few segments each."""
    async with DuckDBService(make_settings()) as service:
        await service.execute_query("CREATE TABLE t AS SELECT range AS a FROM range(100000)")
    made = make_settings(
        replica=ReplicaSettings(url=str(tmp_path / "replica"), interval=0.02, scrub_rate=0)
    )
    async with DuckDBService(made) as service:
        for number in range(2 * INSERTS):
            if number % INSERTS == 0:
                await shipped(service, number)
                await service.execute_query("CHECKPOINT")
            await service.execute_query("INSERT INTO t VALUES (-1)")
            await shipped(service, number + 1)
    return made


async def shipped(service: DuckDBService, commits: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await service.get_replication_status())["transactions"] < commits:
            await asyncio.sleep(0.01)


def blobs(settings: Settings, pattern: str) -> list[Path]:
    assert settings.replica.url is not None
    found = sorted(Path(settings.replica.url).glob(pattern))
    assert found
    return found


def segments_of_a_full_generation(settings: Settings, which: int) -> list[Path]:
    """Return the segments of one of the generations that hold all of the inserts."""
    full = [
        found
        for wal in blobs(settings, "generations/*/wal")
        if len(found := sorted(wal.iterdir())) >= INSERTS
    ]
    return full[which]


def packs_first_needed_by(settings: Settings, name: str) -> set[str]:
    archive = open_archive(settings)
    needed: dict[str, set[str]] = {}
    with ThreadPoolExecutor(2) as executor:
        for each in archive.listing().generations:
            needed[each.name] = set(archive.blocks_at(each, executor).blocks_by_pack())
    return needed[name] - set().union(*(needed[other] for other in needed if other < name))


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def damages(settings: Settings) -> tuple[str, ...]:
    with ThreadPoolExecutor(2) as executor:
        return verify_replica(open_archive(settings), executor).damages


def count(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute("SELECT count(*) FROM t").fetchone()
    assert found
    return int(found[0])


def test_a_whole_replica_is_whole(settings: Settings) -> None:
    assert damages(settings) == ()


def test_a_lost_segment_is_told_and_not_restored_over(settings: Settings, tmp_path: Path) -> None:
    archive = open_archive(settings)
    with ThreadPoolExecutor(2) as executor:
        points = list_points(archive, archive.listing(), executor)
    lost = segments_of_a_full_generation(settings, -1)[1]
    name = lost.parent.parent.name
    before = [point for point in points if point.generation == name][1]
    lost.unlink()
    assert "is missing" in damages(settings)[0]
    # A newer generation may begin after it, of the checkpoint at the end.
    times = [point.time_us for point in points if point.generation == name]
    with pytest.raises(ReplicaDamagedError, match="is missing"):
        restore_database(archive, tmp_path / "out.db", to_us=times[-1])
    restore_database(archive, tmp_path / "out.db", to_us=before.time_us)
    assert count(tmp_path / "out.db") == 100_000 + before.commits


@pytest.mark.parametrize("what", ["segment", "base"])
def test_points_beside_the_damage_are_listed_and_restored(
    what: str, settings: Settings, tmp_path: Path
) -> None:
    archive = open_archive(settings)
    with ThreadPoolExecutor(2) as executor:
        before = list_points(archive, archive.listing(), executor)
        middle = segments_of_a_full_generation(settings, -1)
        damage(middle[2] if what == "segment" else middle[0].parent.parent / "base")
        told: list[str] = []
        after = list_points(archive, archive.listing(), executor, told.append)
    assert len(told) == 1
    gone = [point for point in before if point not in after]
    assert gone
    assert {point.generation for point in gone} == {middle[0].parent.parent.name}
    for number, point in enumerate(after):
        output = tmp_path / f"{number}.db"
        report = restore_database(archive, output, to_us=point.time_us // 1000 * 1000 + 999)
        assert report.transactions == point.commits
    for point in gone:
        with pytest.raises(ReplicaDamagedError):
            restore_database(archive, tmp_path / "out.db", to_us=point.time_us)


def test_the_lost_end_of_a_generation_is_told(settings: Settings) -> None:
    segments_of_a_full_generation(settings, 0)[-1].unlink()
    assert "the last segments of generation" in damages(settings)[0]


@pytest.mark.parametrize("what", ["segment", "base", "pack"])
def test_recover_finds_the_newest_point_that_is_whole(
    what: str, settings: Settings, tmp_path: Path
) -> None:
    newest = blobs(settings, "generations/*")[-1]
    last = segments_of_a_full_generation(settings, -1)
    packs = packs_first_needed_by(settings, last[0].parent.parent.name)
    for base in blobs(settings, "generations/*/base"):
        if base.parent.name > last[0].parent.parent.name:
            damage(base)  # the checkpoint at the end
    if what == "segment":
        damage(last[-1])
    elif what == "base":
        damage(last[0].parent.parent / "base")
    else:
        assert settings.replica.url is not None
        for pack in packs:
            damage(Path(settings.replica.url) / pack)
    settings.database_path.unlink()
    archive = open_archive(settings)
    with pytest.raises(ReplicaDamagedError):
        restore_database(archive, tmp_path / "out.db")
    report = recover_database(archive, settings.database_path)
    assert report.damage
    assert newest.name not in report.plan.point.generation
    found = count(settings.database_path)
    if what == "segment":
        assert found == 100_000 + 2 * INSERTS - 1
    else:
        assert found == 100_000 + INSERTS
    assert report.transactions == found - 100_000


def test_recover_gives_up_when_nothing_is_whole(settings: Settings) -> None:
    before = settings.database_path.read_bytes()
    for base in blobs(settings, "generations/*/base"):
        damage(base)
    with pytest.raises(ReplicaDamagedError):
        recover_database(open_archive(settings), settings.database_path)
    assert settings.database_path.read_bytes() == before


async def test_a_damaged_replica_does_not_keep_a_whole_database_from_starting(
    settings: Settings, tmp_path: Path
) -> None:
    damage(blobs(settings, "generations/*/base")[-1])
    async with DuckDBService(settings) as service:
        await service.execute_query("INSERT INTO t VALUES (-2)")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await service.get_replication_status())["state"] != "following":
                await asyncio.sleep(0.01)
    restore_database(open_archive(settings), tmp_path / "out.db", verify="full")
    assert count(tmp_path / "out.db") == 100_000 + 2 * INSERTS + 1


async def test_a_file_that_a_damaged_replica_cannot_judge_is_not_opened(settings: Settings) -> None:
    damage(blobs(settings, "generations/*/base")[-1])
    state_path(settings.database_path).unlink()
    with pytest.raises(DuckDBConnectionError, match="is damaged") as refused:
        async with DuckDBService(settings):
            raise AssertionError("it was opened")
    assert "chronoduck recover" not in refused.value.hint  # it would set the newer file aside
    assert "chronoduck replication adopt" in refused.value.hint


@pytest.mark.parametrize("is_checkpointed", [False, True])
async def test_a_replica_that_was_unmounted_is_compared_anew(
    settings: Settings, tmp_path: Path, is_checkpointed: bool
) -> None:
    replica, away = tmp_path / "replica", tmp_path / "away"
    before = {path.name for path in blobs(settings, "generations/*")}
    async with DuckDBService(settings) as service:
        await service.execute_query("INSERT INTO t VALUES (-2)")
        await shipped(service, 2 * INSERTS + 1)
        replica.rename(away)
        replica.mkdir()  # the empty directory under a volume
        await service.execute_query("INSERT INTO t VALUES (-3)")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await service.get_replication_status())["state"] != "failing":
                await asyncio.sleep(0.01)
        report = await service.get_replication_status()
        assert "is not in" in report["error"]
        assert not list(replica.glob("replica"))
        if is_checkpointed:
            await service.execute_query("CHECKPOINT")
        await service.execute_query("INSERT INTO t VALUES (-4)")
        replica.rename(tmp_path / "beneath")
        away.rename(replica)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await service.get_replication_status())["state"] != "following":
                await asyncio.sleep(0.01)
    # What was written beneath the volume is a point of the old generation that nobody has; the
    # new one holds its rows.
    missing = damages(settings)
    assert len(missing) <= is_checkpointed
    assert all("the last segments of generation" in each for each in missing)
    assert before <= {path.name for path in blobs(settings, "generations/*")}
    restore_database(open_archive(settings), tmp_path / "out.db", verify="full")
    assert count(tmp_path / "out.db") == 100_000 + 2 * INSERTS + 3


def test_a_wal_of_a_newer_engine_is_not_replayed_by_this_one(settings: Settings) -> None:
    path = settings.database_path
    path.with_name(f"{path.name}.engine").write_text("99.0.0\n")
    wal = path.with_name(f"{path.name}.wal")
    wal.write_bytes(b"something")
    with pytest.raises(DatabaseFormatError, match=r"99\.0\.0"):
        recover_database(open_archive(settings), path)
    assert wal.read_bytes() == b"something"
    wal.unlink()
    recover_database(open_archive(settings), path)
