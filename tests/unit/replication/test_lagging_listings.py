"""Listings that lack what was written last: nothing is deleted, overwritten or doubted for that."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from chronoduck.replication.archive import Archive
from chronoduck.replication.envelope import Envelope
from chronoduck.replication.pruning import Pruner
from chronoduck.replication.restore_plan import plan_restore
from chronoduck.replication.shipper import Shipper, Step
from chronoduck.replication.startup import resume
from chronoduck.replication.state_keeper import StateKeeper
from chronoduck.replication.verification import verify_replica
from chronoduck.settings import ReplicaSettings
from chronoduck.storage import MemoryBlobStore
from tests.lagging_store import LaggingBlobStore

BULK = "INSERT INTO t SELECT i, md5(i::VARCHAR) FROM range({}, {}) r(i)"


class Machine:
    """A database and its replica in a store whose listings can be made to lag."""

    def __init__(self, directory: Path, executor: ThreadPoolExecutor) -> None:
        self.database = directory / "test.db"
        self.executor = executor
        self.blobs = MemoryBlobStore()
        self.store = LaggingBlobStore(self.blobs)
        self.connection = duckdb.connect(
            str(self.database),
            config={
                "wal_autocheckpoint": "1TB",
                "threads": "2",
                # Files of v1.0.0, which 1.5 makes by default, have no identifier.
                "storage_compatibility_version": "v1.5.0",
            },
        )
        self.connection.execute("CREATE TABLE t (a BIGINT, b VARCHAR)")
        self.connection.execute("CHECKPOINT")
        self.keeper = StateKeeper(self.database, self.store.url)
        self.begin()

    def begin(self) -> None:
        """Begin as a new process of the replicator does."""
        self.archive = Archive(self.store, Envelope())
        self.identity = self.archive.create()
        self.shipper = Shipper(self.database, self.archive, self.executor, now_us=now_us)
        resume(self.shipper, self.archive, self.database, self.executor, replica_id=self.identity)

    def ship(self, *, notes: bool = True) -> None:
        for _ in range(30):
            step = self.shipper.step()
            generation = self.shipper.generation
            if notes and generation is not None:
                self.keeper.note_shipped(
                    self.identity,
                    generation,
                    self.shipper.total_commits,
                    self.shipper.last_point_us,
                )
            if step is Step.IDLE:
                return
        raise AssertionError("the replica does not catch up")

    def damages(self) -> tuple[str, ...]:
        """Return what somebody else finds, who has written nothing of it."""
        return verify_replica(Archive(self.store, Envelope()), self.executor).damages


_clock = iter(range(1, 1_000_000))


def now_us() -> int:
    return next(_clock)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with ThreadPoolExecutor(2) as executor:
        machine = Machine(tmp_path, executor)
        yield machine
        machine.shipper.close()
        machine.connection.close()


def test_retention_keeps_the_packs_of_a_point_that_is_not_listed_yet(machine: Machine) -> None:
    machine.ship()
    machine.store.lag()
    machine.connection.execute(BULK.format(0, 130_000))  # blocks of its own
    machine.ship()
    machine.store.hidden = {name for name in machine.store.hidden if "/wal/" in name}
    assert machine.store.hidden
    machine.connection.execute("DROP TABLE t")
    machine.connection.execute("CHECKPOINT")  # its blocks are free now, and written again:
    machine.connection.execute(
        "CREATE TABLE t AS SELECT md5('x' || i) AS b FROM range(260000) r(i)"
    )
    machine.connection.execute("CHECKPOINT")
    machine.ship()
    settings = ReplicaSettings(detail=86_400, retention=86_400)
    in_use = frozenset(machine.shipper.blocks.table.blocks_by_pack())
    Pruner(machine.archive, machine.executor, settings).prune(machine.shipper.number, in_use, 0)
    machine.store.catch_up()
    assert machine.damages() == ()


def test_no_two_generations_have_one_number(machine: Machine) -> None:
    machine.ship()
    machine.store.lag()
    machine.connection.execute(BULK.format(0, 10))
    machine.connection.execute("CHECKPOINT")
    machine.ship(notes=False)  # killed before it heard that the base was written
    machine.shipper.close()
    machine.connection.execute(BULK.format(10, 20))
    machine.connection.execute("CHECKPOINT")
    machine.begin()
    machine.ship()
    machine.store.catch_up()
    listing = machine.archive.listing()
    numbers = [generation.number for generation in listing.generations]
    assert len(numbers) == len(set(numbers)) == 3
    assert plan_restore(machine.archive, listing, machine.executor).point.generation == (
        machine.shipper.previous
    )
    assert machine.damages() == ()


def test_a_pack_is_never_written_again(machine: Machine) -> None:
    machine.ship()
    machine.store.lag()
    machine.connection.execute(BULK.format(0, 130_000))
    machine.ship()
    before = {name: machine.blobs.get(name) for name in machine.store.hidden if "packs" in name}
    assert before
    machine.shipper.close()
    machine.connection.execute(BULK.format(130_000, 260_000))
    machine.begin()
    machine.ship()
    assert before == {name: machine.blobs.get(name) for name in before}
    machine.store.catch_up()
    assert machine.damages() == ()


def test_who_reads_asks_for_what_a_listing_lacks(machine: Machine) -> None:
    machine.store.lag()
    machine.connection.execute(BULK.format(0, 130_000))
    machine.connection.execute("CHECKPOINT")
    machine.ship()
    hidden = set(machine.store.hidden)
    for part in ("packs/", "/base"):
        machine.store.hidden = {name for name in hidden if part in name}
        machine.connection.execute(BULK.format(0, 1))
        machine.store.lag(0.0)
        machine.ship()
        assert machine.store.hidden
        assert machine.damages() == ()
        archive = Archive(machine.store, Envelope())
        plan = plan_restore(archive, archive.listing(), machine.executor)
        assert plan.point.commits == machine.shipper.total_commits
