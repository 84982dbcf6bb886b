"""The look at the store: what is gone is told, what only looks so is not."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from chronoduck.replication.archive import Archive
from chronoduck.replication.envelope import Envelope
from chronoduck.replication.failures import ReplicaDamagedError
from chronoduck.replication.history import Listing
from chronoduck.replication.records import PLAN_NAME, base_name
from chronoduck.replication.shipper import Shipper, Step
from chronoduck.replication.watch import StoreScrubber, StoreWatch
from chronoduck.storage import BlobInfo, MemoryBlobStore
from tests.patience import PATIENCE_SECONDS


class FaultyStore(MemoryBlobStore):
    """Lists the past, and cuts every other answer off."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stale = self.is_cut = False
        self.past: list[BlobInfo] = []
        self.gets = itertools.count()

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        if self.is_stale:
            return iter([blob for blob in self.past if blob.name.startswith(prefix)])
        return super().list(prefix)

    def get(self, name: str) -> bytes:
        data = super().get(name)
        return data[: len(data) // 2] if self.is_cut and next(self.gets) % 2 == 0 else data


class Replica:
    def __init__(self, directory: Path, executor: ThreadPoolExecutor) -> None:
        ticks = itertools.count(1)
        self.store = FaultyStore()
        self.archive = Archive(self.store, Envelope())
        self.watch = StoreWatch(self.archive)
        self.connection = duckdb.connect(
            str(directory / "test.db"), config={"wal_autocheckpoint": "1TB"}
        )
        self.connection.execute("CREATE TABLE t AS SELECT range AS a FROM range(200000)")
        self.connection.execute("CHECKPOINT")
        self.shipper = Shipper(
            directory / "test.db", self.archive, executor, now_us=lambda: next(ticks)
        )

    def write(self) -> None:
        self.connection.execute("INSERT INTO t VALUES (1)")
        while self.shipper.step() is not Step.IDLE:
            pass

    def look(self) -> str:
        self.watch._next_look = 0.0
        return self.watch.look()

    def compare(self) -> dict[str, str]:
        assert self.shipper.generation is not None
        packs = self.shipper.blocks.table.blocks_by_pack().keys()
        return self.watch.compare(self.shipper.generation, packs)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    with ThreadPoolExecutor(2) as executor:
        made = Replica(tmp_path, executor)
        made.write()
        yield made
        made.shipper.close()
        made.connection.close()


def test_a_whole_store_is_no_news(replica: Replica) -> None:
    for _ in range(3):
        replica.write()
        assert replica.look() == ""
    assert replica.compare() == {}


def test_a_listing_that_lags_behind_is_no_loss(replica: Replica) -> None:
    replica.store.is_stale = True
    replica.write()
    assert (replica.look(), replica.compare()) == ("", {})


def test_an_answer_that_was_cut_off_is_no_loss(replica: Replica) -> None:
    replica.compare()
    replica.store.is_cut = True
    replica.write()
    assert (replica.look(), replica.compare()) == ("", {})


@pytest.mark.parametrize("which", [0, 2, 4])
def test_any_point_since_the_last_look_that_is_gone_is_told(replica: Replica, which: int) -> None:
    replica.look()
    for _ in range(5):
        replica.write()
    name = replica.archive.recent()[which]
    replica.store.delete([name])
    assert name in replica.look()


@pytest.mark.parametrize("how", ["lost", "changed"])
def test_a_pack_that_is_gone_or_was_written_again_is_told(replica: Replica, how: str) -> None:
    assert replica.compare() == {}
    name = next(iter(replica.shipper.blocks.table.blocks_by_pack()))
    data = replica.store.get(name)
    if how == "lost":
        replica.store.delete([name])
    else:
        replica.store.put(name, data[:-1] + bytes([data[-1] ^ 1]))
    assert list(replica.compare()) == [name]


def test_the_scrub_outlives_a_record_that_is_damaged(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = replica.shipper.generation
    assert generation is not None
    replica.store.delete([base_name(generation.name)])
    replica.store.put(PLAN_NAME, b"damaged")
    failed = threading.Event()
    listing = replica.archive.listing

    def fail() -> Listing:
        try:
            return listing()
        except ReplicaDamagedError:
            failed.set()
            raise

    monkeypatch.setattr(replica.archive, "listing", fail)
    scrubber = StoreScrubber(replica.archive, bytes_per_second=1e9, is_ready=lambda: True)
    scrubber.start()
    assert failed.wait(PATIENCE_SECONDS)
    scrubber._thread.join(0.5)  # it would end at once
    assert scrubber._thread.is_alive()
    scrubber.stop()
    scrubber._thread.join(PATIENCE_SECONDS)
    assert not scrubber._thread.is_alive()
