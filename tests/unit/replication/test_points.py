"""Restore points have an order that no clock changes, and say how far they were tried."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.proving import WalPosition
from chronoduck.replication.archive import Archive
from chronoduck.replication.envelope import Envelope
from chronoduck.replication.failures import RestoreTargetError
from chronoduck.replication.link import ReplicatorLink
from chronoduck.replication.opening import open_archive
from chronoduck.replication.proof_marks import ProofMarks
from chronoduck.replication.restore_plan import (
    PointName,
    RestorePlan,
    RestorePoint,
    list_points,
    plan_restore,
)
from chronoduck.replication.retention import apply_plan, plan_pruning, read_facts
from chronoduck.replication.shipper import Shipper, Step
from chronoduck.settings import ReplicaSettings, Settings
from chronoduck.storage import MemoryBlobStore
from tests.patience import PATIENCE_SECONDS

SECOND = 1_000_000
HOUR = 3600 * SECOND


class Clock:
    """A wall clock that can be set, and the time that really passes."""

    def __init__(self) -> None:
        self.passed_us, self.ahead_us = 4_000_000_000 * SECOND, 0

    def now_us(self) -> int:
        self.passed_us += SECOND
        return self.passed_us + self.ahead_us

    def monotonic(self) -> float:
        return self.passed_us / 1e6


class Replica:
    def __init__(self, directory: Path, executor: ThreadPoolExecutor) -> None:
        self.clock = Clock()
        self.executor = executor
        self.archive = Archive(MemoryBlobStore(), Envelope())
        self.marks = ProofMarks(self.archive)
        self.connection = duckdb.connect(
            str(directory / "test.db"), config={"wal_autocheckpoint": "1TB"}
        )
        self.database = directory / "test.db"
        self.connection.execute("CREATE TABLE t (a INTEGER)")
        self.checkpoint()
        self.shipper = Shipper(
            directory / "test.db",
            self.archive,
            executor,
            now_us=self.clock.now_us,
            monotonic=self.clock.monotonic,
        )
        self.ship()

    def ship(self) -> None:
        while self.shipper.step() is not Step.IDLE:
            pass
        assert self.shipper.generation is not None
        self.marks.note_shipped(self.shipper.generation, self.shipper.last_point_us)

    def checkpoint(self) -> None:
        self.connection.execute("CHECKPOINT")
        now_ns = self.clock.now_us() * 1000
        os.utime(self.database, ns=(now_ns, now_ns))

    def write(self, count: int) -> None:
        """Make points, one second apart."""
        for _ in range(count):
            self.connection.execute("INSERT INTO t VALUES (1)")
            self.ship()

    def points(self) -> list[RestorePoint]:
        return list_points(self.archive, self.archive.listing(), self.executor)

    def plan(self, to_us: int | None = None, at: PointName | None = None) -> RestorePlan:
        return plan_restore(self.archive, self.archive.listing(), self.executor, to_us, at)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    with ThreadPoolExecutor(2) as executor:
        made = Replica(tmp_path, executor)
        yield made
        made.shipper.close()
        made.connection.close()


def clock_warnings(plan: RestorePlan) -> list[str]:
    return [sentence for sentence in plan.warnings if "clock was set" in sentence]


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_time_around_which_the_clock_was_set_is_warned_of(
    replica: Replica, checkpoint: bool
) -> None:
    replica.write(3)
    replica.clock.ahead_us = HOUR
    replica.write(3)
    replica.clock.ahead_us = 0
    replica.write(3)
    if checkpoint:
        replica.checkpoint()
        replica.ship()
    replica.write(3)
    plan = replica.plan(replica.clock.passed_us)  # a moment that has passed, by the right clock
    assert plan.point.commits < 12
    assert clock_warnings(plan)
    orders = [point.order for point in replica.points()]
    assert orders == sorted(orders)
    assert [point.commits for point in replica.points() if point.offset][-1] == 12
    for point in replica.points():
        assert PointName.parse(str(point.name)) == point.name
        named = replica.plan(at=point.name)
        assert (named.point.commits, clock_warnings(named)) == (point.commits, [])


def test_a_steady_clock_is_not_warned_of(replica: Replica) -> None:
    replica.write(5)
    replica.checkpoint()
    replica.write(5)
    for point in replica.points():
        assert clock_warnings(replica.plan(point.time_us)) == []


def test_a_point_that_is_not_there_is_told(replica: Replica) -> None:
    replica.write(2)
    last = replica.points()[-1]
    for name in (PointName(last.generation, last.offset - 1), PointName("00000099-abcdef", 0)):
        with pytest.raises(RestoreTargetError):
            replica.plan(at=name)


def test_points_say_up_to_where_they_were_proven(replica: Replica) -> None:
    replica.write(4)
    iteration_points = [point for point in replica.points() if point.offset]
    generation = replica.shipper.generation
    assert generation is not None
    iteration = replica.marks._points[-1][0].iteration
    replica.marks.note("proven", WalPosition(iteration, iteration_points[0].offset))
    replica.marks.note("replayed", WalPosition(iteration, iteration_points[2].offset + 3))
    replica.marks.note("replayed", WalPosition(iteration, iteration_points[1].offset))  # older
    replica.marks.write()
    proofs = [point.proof for point in replica.points() if point.offset]
    assert proofs == ["proven", "replayed", "replayed", ""]
    assert replica.marks.until_us("proven") == iteration_points[0].time_us
    assert replica.marks.until_us("replayed") == iteration_points[2].time_us
    warned = [bool(replica.plan(point.time_us).warnings) for point in iteration_points]
    assert warned == [False, True, True, True]


def test_a_mark_reaches_no_further_than_what_was_shipped(replica: Replica) -> None:
    replica.write(2)
    iteration = replica.marks._points[-1][0].iteration
    replica.marks.note("proven", WalPosition(iteration, 1_000_000))
    replica.marks.write()
    replica.write(1)
    assert [point.proof for point in replica.points()][-2:] == ["proven", ""]


def test_marks_are_few_and_go_with_their_generation(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chronoduck.replication.proof_marks._WRITE_SECONDS", 0.0)
    for _ in range(3):
        for _ in range(4):
            replica.write(1)
            replica.marks.note("proven", replica.marks._points[-1][0])
            replica.marks.write()
        replica.checkpoint()
        replica.ship()
    listing = replica.archive.listing()
    assert [len(each.proofs) for each in listing.generations] == [1, 1, 1, 0]
    plan = plan_pruning(
        read_facts(replica.archive, listing, replica.executor),
        listing.packs,
        detail_us=1,
        retention_us=1,
        current=10,
    )
    apply_plan(replica.archive, plan)
    left = {each.name for each in replica.archive.listing().generations}
    proofs = [blob.name for blob in replica.archive.store.list("generations/")]
    assert all(name.split("/")[1] in left for name in proofs)


async def test_a_proof_that_the_service_is_told_reaches_the_replica(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = make_settings(replica=ReplicaSettings(url=str(tmp_path / "replica"), interval=0.02))
    settings.database_path.parent.mkdir()
    connection = duckdb.connect(str(settings.database_path), config={"wal_autocheckpoint": "1TB"})
    connection.execute("CREATE TABLE t (a INTEGER); CHECKPOINT; INSERT INTO t VALUES (1)")
    link = ReplicatorLink(settings)
    await link.prepare()
    link.begin()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not link.status.commits:
                await asyncio.sleep(0.01)
            link.note_proof("proven", WalPosition(link.status.iteration, 1_000_000))
            while not link.status.proven_us:
                await asyncio.sleep(0.01)
    finally:
        await link.stop(1.0)
        connection.close()
    assert link.status.replayed_us == link.status.proven_us
    with ThreadPoolExecutor(2) as executor:
        archive = open_archive(settings)
        points = list_points(archive, archive.listing(), executor)
    assert [point.proof for point in points if point.offset] == ["proven"]
