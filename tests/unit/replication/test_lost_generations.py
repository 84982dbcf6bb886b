"""A generation that is gone without a reason is damage: never an older point in its place."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from chronoduck.replication.archive import Archive
from chronoduck.replication.envelope import Envelope
from chronoduck.replication.failures import ReplicaDamagedError
from chronoduck.replication.removals import NumberRanges, Removals
from chronoduck.replication.restore_plan import RestorePoint, list_points, plan_restore
from chronoduck.replication.retention import apply_plan, finish_plan, plan_pruning, read_facts
from chronoduck.replication.shipper import Shipper, Step
from chronoduck.replication.verification import verify_replica
from chronoduck.storage import DirectoryBlobStore, StoreError

GENERATIONS = 5
HOUR_US = 3_600_000_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A replica of some generations, a point in time after each commit."""
    directory = tmp_path_factory.mktemp("whole")
    database, store = directory / "test.db", directory / "replica"
    passed = [0]
    connection = duckdb.connect(str(database), config={"wal_autocheckpoint": "1TB"})
    connection.execute("CREATE TABLE t AS SELECT range AS a FROM range(1000)")
    connection.execute("CHECKPOINT")

    def next_hour() -> int:
        passed[0] += 1
        return passed[0]

    def set_time() -> None:
        """Make the file as old as the clock of this test says."""
        now_ns = next_hour() * HOUR_US * 1000
        os.utime(database, ns=(now_ns, now_ns))

    set_time()
    with ThreadPoolExecutor(2) as executor:
        shipper = Shipper(
            database,
            Archive(DirectoryBlobStore(store), Envelope()),
            executor,
            now_us=lambda: next_hour() * HOUR_US,
            monotonic=lambda: passed[0] * 3600.0,
        )
        for number in range(3 * GENERATIONS):
            while shipper.step() is not Step.IDLE:
                pass
            connection.execute(f"INSERT INTO t VALUES ({number})")
            while shipper.step() is not Step.IDLE:
                pass
            if number % 3 == 2:
                connection.execute("CHECKPOINT")
                set_time()
        while shipper.step() is not Step.IDLE:
            pass
        shipper.close()
    connection.close()
    return store


@pytest.fixture
def archive(whole: Path, tmp_path: Path) -> Archive:
    shutil.copytree(whole, tmp_path / "replica")
    return Archive(DirectoryBlobStore(tmp_path / "replica"), Envelope())


def points_of(archive: Archive) -> tuple[list[RestorePoint], list[str]]:
    told: list[str] = []
    with ThreadPoolExecutor(2) as executor:
        return list_points(archive, archive.listing(), executor, told.append), told


def commits_at(archive: Archive, time_us: int | None) -> int | None:
    """Return the transactions of the point that a restore would give, None when it refuses."""
    with ThreadPoolExecutor(2) as executor:
        try:
            return plan_restore(archive, archive.listing(), executor, time_us).point.commits
        except ReplicaDamagedError:
            return None


def damages(archive: Archive) -> tuple[str, ...]:
    with ThreadPoolExecutor(2) as executor:
        return verify_replica(archive, executor).damages


def test_a_whole_replica_has_no_gaps(archive: Archive) -> None:
    points, told = points_of(archive)
    assert (damages(archive), told) == ((), [])
    assert len({point.generation for point in points}) == GENERATIONS + 1
    for point in points:
        assert commits_at(archive, point.time_us // 1000 * 1000 + 999) == point.commits


@pytest.mark.parametrize("what", ["base", "generation"])
@pytest.mark.parametrize("which", range(GENERATIONS + 1))
def test_no_restore_gives_an_older_point_for_a_lost_one(
    which: int, what: str, archive: Archive
) -> None:
    before, _ = points_of(archive)
    generations = [each.name for each in archive.listing().generations]
    name = generations[which]
    directory = Path(archive.url) / "generations" / name
    if what == "base":
        (directory / "base").unlink()
    else:
        shutil.rmtree(directory)
    # Without its base nobody can tell a newest generation that had no segments from one that never was.
    is_told = which != GENERATIONS
    assert any(name in each for each in damages(archive)) == is_told
    after, told = points_of(archive)
    assert any(name in each for each in told) == is_told
    assert after == [point for point in before if point.generation != name]
    for point in before:
        commits = commits_at(archive, point.time_us // 1000 * 1000 + 999)
        if point.generation != name:
            assert commits == point.commits
        elif is_told and which:
            assert commits is None
    if is_told:
        assert commits_at(archive, None) == before[-1].commits


def test_the_lost_base_of_the_newest_generation_with_points_is_told(archive: Archive) -> None:
    *_, full, last = [each.name for each in archive.listing().generations]
    shutil.rmtree(Path(archive.url) / "generations" / last)
    (Path(archive.url) / "generations" / full / "base").unlink()
    assert any(full in each for each in damages(archive))
    assert commits_at(archive, None) is None


def test_what_retention_deletes_is_no_damage(archive: Archive) -> None:
    with ThreadPoolExecutor(2) as executor:
        listing = archive.listing()
        plan = plan_pruning(
            read_facts(archive, listing, executor),
            listing.packs,
            detail_us=HOUR_US,
            retention_us=100 * HOUR_US,
            current=GENERATIONS + 2,
        )
        less = plan_pruning(
            read_facts(archive, listing, executor),
            listing.packs,
            detail_us=HOUR_US,
            retention_us=2 * HOUR_US,
            current=GENERATIONS + 2,
        )
    apply_plan(archive, plan)
    apply_plan(archive, less)
    assert less.generations >= 2
    assert damages(archive) == ()
    assert points_of(archive)[1] == []
    oldest = archive.listing().generations[0].number
    assert archive.removals().retention.ranges == ((0, oldest - 1),)
    assert len(list(archive.store.list("removed/"))) == 1


@pytest.mark.parametrize("calls", range(6))
def test_a_deletion_that_was_broken_off_is_no_damage(calls: int, archive: Archive) -> None:
    class Breaking(DirectoryBlobStore):
        left = calls

        def put(self, name: str, data: bytes) -> None:
            self.count()
            super().put(name, data)

        def delete(self, names: object) -> None:
            self.count()
            super().delete(names)  # type: ignore[arg-type]

        def count(self) -> None:
            Breaking.left -= 1
            if Breaking.left < 0:
                raise StoreError("broken off")

    breaking = Archive(Breaking(Path(archive.url)), Envelope())
    with ThreadPoolExecutor(2) as executor:
        listing = archive.listing()
        plan = plan_pruning(
            read_facts(archive, listing, executor),
            listing.packs,
            detail_us=HOUR_US,
            retention_us=2 * HOUR_US,
            current=GENERATIONS + 2,
        )
    try:
        apply_plan(breaking, plan)
    except StoreError:
        assert damages(archive) == ()
    finish_plan(archive)
    assert damages(archive) == ()


def test_a_loss_that_was_taken_note_of_is_no_news_but_stays_lost(archive: Archive) -> None:
    before, _ = points_of(archive)
    lost = archive.listing().generations[2]
    shutil.rmtree(Path(archive.url) / "generations" / lost.name)
    assert damages(archive)
    archive.note_removals(Removals(lost=NumberRanges.of([lost.number])))
    assert damages(archive) == ()
    for point in before:
        if point.generation == lost.name:
            assert commits_at(archive, point.time_us // 1000 * 1000 + 999) is None


def test_ranges_hold_what_was_put_in_and_stay_few() -> None:
    numbers = NumberRanges.of([1, 2, 3, 7, 5])
    assert numbers.ranges == ((1, 3), (5, 5), (7, 7))
    assert [number for number in range(10) if number in numbers] == [1, 2, 3, 5, 7]
    assert numbers.union([(4, 6)]).ranges == ((1, 7),)
    assert numbers.without([2, 7]).ranges == ((1, 1), (3, 3), (5, 5))
