"""What the replica does with a log that is not the one it shipped."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.disk_format import DatabaseFile
from chronoduck.replication.archive import Archive
from chronoduck.replication.envelope import Envelope
from chronoduck.replication.failures import ReplicaMismatchError
from chronoduck.replication.recovery import restore_database
from chronoduck.replication.restore_plan import list_points, plan_restore
from chronoduck.replication.shipper import Shipper, Step
from chronoduck.replication.verification import verify_replica
from chronoduck.storage import MemoryBlobStore, StoreError

COMMITS = 20


def make_database_with_log(path: Path) -> None:
    """Leave a file and a log as a killed process does."""
    script = f"""
import duckdb, os
c = duckdb.connect({str(path)!r}, config={{"wal_autocheckpoint": "1TB"}})
c.execute("CREATE TABLE t (a INTEGER)"); c.execute("CHECKPOINT")
for number in range({COMMITS}): c.execute(f"INSERT INTO t VALUES ({{number}})")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def ship_all(shipper: Shipper) -> None:
    for _ in range(30):
        if shipper.step() is Step.IDLE:
            return
    raise AssertionError("the replica does not catch up")


@contextlib.contextmanager
def shipped_log(database: Path) -> Iterator[tuple[Shipper, Archive]]:
    """A shipper that holds a log of which everything is in the replica; then half of it is cut off."""
    make_database_with_log(database)
    ticks = itertools.count(1)
    with ThreadPoolExecutor(2) as executor:
        archive = Archive(MemoryBlobStore(), Envelope())
        shipper = Shipper(database, archive, executor, now_us=lambda: next(ticks))
        ship_all(shipper)
        assert shipper.total_commits == COMMITS
        log = database.with_name(database.name + ".wal")
        os.truncate(log, log.stat().st_size // 2)
        yield shipper, archive
        shipper.close()


def test_a_log_that_is_changed_after_the_service_died_is_not_shipped(tmp_path: Path) -> None:
    with shipped_log(tmp_path / "test.db") as (shipper, archive), ThreadPoolExecutor(2) as executor:
        shipper.take_as_final()
        with pytest.raises(ReplicaMismatchError, match="after the service died"):
            shipper.step()
        assert plan_restore(archive, archive.listing(), executor).point.commits == COMMITS


def test_a_commit_that_duckdb_took_back_is_not_the_end_of_shipping(tmp_path: Path) -> None:
    with shipped_log(tmp_path / "test.db") as (shipper, archive):
        ship_all(shipper)
        assert len(archive.listing().generations) == 2


class ForgetfulStore(MemoryBlobStore):
    """Fails half of the writes, half of them after they took effect; remembers all contents."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.contents: dict[str, set[bytes]] = {}

    def put(self, name: str, data: bytes) -> None:
        fails, happens = self.random.random() < 0.5, self.random.random() < 0.5
        if not fails or happens:
            self.contents.setdefault(name, set()).add(bytes(data))
            super().put(name, data)
        if fails:
            raise StoreError("the answer was lost")


@pytest.mark.parametrize("seed", range(5))
def test_a_write_that_may_have_happened_is_repeated_to_the_byte(seed: int, tmp_path: Path) -> None:
    """A request that timed out may reach the store after its repetition: it must change nothing."""
    store = ForgetfulStore(seed)
    archive = Archive(store, Envelope())
    ticks = itertools.count(1)
    connection = duckdb.connect(str(tmp_path / "test.db"), config={"wal_autocheckpoint": "1TB"})
    connection.execute("CREATE TABLE t AS SELECT range AS a FROM range(1000)")
    with ThreadPoolExecutor(2) as executor:
        shipper = Shipper(tmp_path / "test.db", archive, executor, now_us=lambda: next(ticks))
        for number in range(60):
            connection.execute(f"INSERT INTO t VALUES ({number})")
            if number % 7 == 0:
                connection.execute("CHECKPOINT")
            with contextlib.suppress(StoreError):
                shipper.step()
        while True:
            with contextlib.suppress(StoreError):
                if shipper.step() is Step.IDLE:
                    break
        assert {name: len(each) for name, each in store.contents.items() if len(each) > 1} == {}
        listing = archive.listing()
        numbers = [each.number for each in listing.generations]
        assert numbers == list(range(1, len(numbers) + 1))
        assert verify_replica(archive, executor).damages == ()
        assert plan_restore(archive, listing, executor).point.commits == shipper.total_commits
        shipper.close()
    connection.close()


@pytest.mark.parametrize("checkpoints", [1, 2, 3])
def test_a_log_never_gets_into_the_generation_of_a_later_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoints: int
) -> None:
    """Several checkpoints within one step of a busy machine: every point can still be restored."""
    database = tmp_path / "test.db"
    connection = duckdb.connect(str(database), config={"wal_autocheckpoint": "1TB"})
    connection.execute("CREATE TABLE t (a INTEGER)")
    numbers, ticks = itertools.count(1), itertools.count(1)

    def commit() -> None:
        connection.execute(f"INSERT INTO t VALUES ({next(numbers)})")

    with ThreadPoolExecutor(2) as executor:
        archive = Archive(MemoryBlobStore(), Envelope())
        shipper = Shipper(database, archive, executor, now_us=lambda: next(ticks) * 1000)
        commit()
        ship_changes = shipper.blocks.ship_changes

        def ship_slowly(file: DatabaseFile) -> None:
            ship_changes(file)
            for _ in range(checkpoints):
                connection.execute("CHECKPOINT")
                commit()

        monkeypatch.setattr(shipper.blocks, "ship_changes", ship_slowly)
        assert shipper.step() is Step.BUSY
        monkeypatch.undo()
        connection.execute("CHECKPOINT")
        shipper.step()
        commit()
        connection.execute("CHECKPOINT")
        ship_all(shipper)
        points = list_points(archive, archive.listing(), executor)
        shipper.close()
    connection.close()
    assert points
    for point in points:
        output = tmp_path / f"{point.time_us}.db"
        restore_database(archive, output, to_us=point.time_us, verify="full")


def test_a_transaction_brings_its_blocks_along_whatever_the_time_of_the_file_says(
    tmp_path: Path,
) -> None:
    """A write sets the file's time first: a look in between takes the file for looked at."""
    database = tmp_path / "test.db"
    connection = duckdb.connect(str(database), config={"wal_autocheckpoint": "1TB"})
    for statement in (
        "CREATE TABLE t (a BIGINT)",
        "CREATE TABLE freed AS SELECT hash(range) AS a FROM range(500000)",
        "CREATE TABLE last AS SELECT hash(range) AS a FROM range(500000)",
        "CHECKPOINT",
        "DROP TABLE freed",
        "CHECKPOINT",
        "INSERT INTO t VALUES (1)",
    ):
        connection.execute(statement)
    with ThreadPoolExecutor(2) as executor:
        archive = Archive(MemoryBlobStore(), Envelope())
        shipper = Shipper(database, archive, executor, now_us=time_us)
        time.sleep(0.05)  # longer than the grain of the file's time
        ship_all(shipper)
        before = database.stat()
        connection.execute("INSERT INTO t SELECT (hash(range) >> 2)::BIGINT FROM range(200000)")
        assert database.stat().st_size == before.st_size
        os.utime(database, ns=(before.st_atime_ns, before.st_mtime_ns))
        ship_all(shipper)
        restore_database(archive, tmp_path / "restored.db", verify="full")
        shipper.close()
    with duckdb.connect(str(tmp_path / "restored.db")) as restored:
        question = "SELECT count(*), sum(a) FROM t"
        assert restored.execute(question).fetchall() == connection.execute(question).fetchall()
    connection.close()


def time_us() -> int:
    return time.time_ns() // 1000
