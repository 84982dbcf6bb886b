"""A death within a checkpoint leaves two WALs: the replica gets both, as the one that DuckDB replays."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.offline import drop_failed_checkpoints, side_files
from chronoduck.replication.archive import Archive
from chronoduck.replication.envelope import Envelope
from chronoduck.replication.failures import ReplicaMismatchError
from chronoduck.replication.records import Base
from chronoduck.replication.recovery import restore_database
from chronoduck.replication.shipper import Shipper, Step
from chronoduck.replication.startup import resume
from chronoduck.storage import MemoryBlobStore, StoreError
from tests.damaged_wal import count_rows, crash, crash_in_checkpoint

BASE = ["CREATE TABLE t(a INTEGER)", "INSERT INTO t VALUES (0)", "CHECKPOINT"]
FIRST = ["INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"]
SECOND = ["INSERT INTO t VALUES (3)", "INSERT INTO t VALUES (4)"]


class Replica:
    """A database and its replica, shipped step by step."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.database = directory / "a.db"
        self.ticks = itertools.count(1)
        self.executor = ThreadPoolExecutor(2)
        self.archive = Archive(MemoryBlobStore(), Envelope())
        self.shipper = self.new_shipper()

    def new_shipper(self) -> Shipper:
        return Shipper(
            self.database, self.archive, self.executor, now_us=lambda: next(self.ticks) * 1000
        )

    def start_again(self) -> None:
        """Do what a start does before DuckDB opens the files."""
        self.shipper.close()
        self.shipper = self.new_shipper()
        resume(self.shipper, self.archive, self.database, self.executor)
        drop_failed_checkpoints(self.database)

    def ship(self, until: Step = Step.IDLE) -> None:
        for _ in range(40):
            step = self.shipper.step()
            if step is until:
                return
        raise AssertionError(step)

    def restored(self) -> list[int]:
        output = self.directory / f"restored-{next(self.ticks)}.db"
        restore_database(self.archive, output, verify="full")
        return count_rows(output)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    made = Replica(tmp_path)
    yield made
    made.shipper.close()
    made.executor.shutdown()


def _die_in_checkpoint(replica: Replica, *, has_header: bool, has_second: bool) -> list[int]:
    """Leave what a kill leaves after (1) and (2); with a second WAL, (3) and (4) are in it."""
    later = replica.directory / "later.db"
    shutil.copy(replica.database, later)
    shutil.copy(side_files(replica.database)[0], side_files(later)[0])
    crash(later, ["CHECKPOINT", *SECOND])
    abort = "before_truncate" if has_header else "before_header"
    crash_in_checkpoint(replica.database, [], abort)
    if has_second:
        shutil.copy(side_files(later)[0], side_files(replica.database)[1])
    return [0, 1, 2, 3, 4] if has_second else [0, 1, 2]


@pytest.mark.parametrize("shipped", [0, 1, 2])
@pytest.mark.parametrize("has_second", [True, False])
@pytest.mark.parametrize("has_header", [True, False])
def test_all_that_a_death_within_a_checkpoint_leaves_is_shipped(
    replica: Replica, has_header: bool, has_second: bool, shipped: int
) -> None:
    crash(replica.database, [*BASE, *FIRST[:shipped]])
    replica.ship()  # the shipper holds the first WAL from here on, as in a service's life
    crash(replica.database, FIRST[shipped:])
    rows = _die_in_checkpoint(replica, has_header=has_header, has_second=has_second)
    replica.shipper.take_as_final()
    replica.ship()
    assert not replica.shipper.unshipped_bytes
    assert replica.restored() == rows

    # The next start finds that the files are what was shipped, and goes on from there.
    replica.start_again()
    with duckdb.connect(str(replica.database)) as connection:
        connection.execute("INSERT INTO t VALUES (5)")
        replica.ship()
        assert replica.restored() == [*rows, 5]


@pytest.mark.parametrize("closes", [True, False])
def test_the_end_of_a_wal_is_shipped_before_the_base_that_follows_it(
    replica: Replica, monkeypatch: pytest.MonkeyPatch, closes: bool
) -> None:
    """The base of a large database may not arrive within the seconds that are left."""
    crash(replica.database, [*BASE, FIRST[0]])
    replica.ship()
    if closes:
        with duckdb.connect(str(replica.database)) as connection:
            connection.execute(FIRST[1])
    else:
        crash_in_checkpoint(replica.database, [FIRST[1]], "before_truncate")
    replica.shipper.take_as_final()
    monkeypatch.setattr(replica.archive, "write_base", _fail)
    with pytest.raises(StoreError):
        replica.ship()
    assert replica.restored() == [0, 1, 2]


def _fail(base: Base) -> int:
    raise StoreError(f"there is no time for {base.generation}")


@pytest.mark.parametrize("has_header", [True, False])
def test_a_refusal_counts_the_transactions_of_both_wals(replica: Replica, has_header: bool) -> None:
    crash(replica.database, [*BASE, *FIRST])
    replica.ship()
    _die_in_checkpoint(replica, has_header=has_header, has_second=True)
    replica.shipper.take_as_final()
    replica.ship()
    second = side_files(replica.database)[1]
    second.write_bytes(second.read_bytes()[:-1])  # its last transaction is not whole any more
    with pytest.raises(ReplicaMismatchError, match="it holds 1 transaction that the file lacks"):
        replica.start_again()


@pytest.mark.parametrize("has_header", [True, False])
def test_a_start_that_joins_the_wals_counts_no_transaction_twice(
    replica: Replica, has_header: bool
) -> None:
    crash(replica.database, BASE)
    replica.ship()
    crash(replica.database, FIRST)
    _die_in_checkpoint(replica, has_header=has_header, has_second=True)
    replica.shipper.take_as_final()
    replica.ship()
    generations = [each.name for each in replica.archive.listing().generations]
    before = replica.shipper.total_commits
    replica.start_again()
    with duckdb.connect(str(replica.database)) as connection:
        connection.execute("INSERT INTO t VALUES (5)")
        replica.ship()
    assert [each.name for each in replica.archive.listing().generations] == generations
    assert replica.shipper.total_commits == before + 1


def test_what_commits_during_a_checkpoint_counts_as_not_shipped(replica: Replica) -> None:
    crash(replica.database, [*BASE, *FIRST])
    replica.ship()
    _die_in_checkpoint(replica, has_header=False, has_second=True)
    second = side_files(replica.database)[1]
    replica.shipper.close()
    replica.shipper = replica.new_shipper()
    replica.ship(Step.WAITING)
    assert replica.shipper.unshipped_bytes > second.stat().st_size // 2
    second.unlink()
    replica.ship()
    assert replica.restored() == [0, 1, 2]
