"""One writer at a time, also when clocks jump."""

from __future__ import annotations

from pathlib import Path

import pytest

from chronoduck.replication.failures import LeaseHeldError
from chronoduck.replication.lease import LEASE_SECONDS, Lease
from chronoduck.storage.memory import MemoryBlobStore


class Clock:
    def __init__(self, seconds: float = 1_800_000_000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> int:
        return int(self.seconds * 1e6)


def leases(count: int = 2) -> tuple[Clock, list[Lease]]:
    clock, store = Clock(), MemoryBlobStore()
    return clock, [
        Lease(store, Path(f"/data/{number}.db"), now_us=clock) for number in range(count)
    ]


def test_a_second_writer_is_told_who_the_first_is() -> None:
    clock, (first, second) = leases()
    first.acquire()
    clock.seconds += LEASE_SECONDS - 1
    with pytest.raises(LeaseHeldError, match=r"/data/0\.db"):
        second.acquire()
    first.renew()


def test_a_lease_that_was_given_back_is_free_at_once() -> None:
    _, (first, second) = leases()
    first.acquire()
    first.release()
    second.acquire()
    second.renew()


def test_a_silent_writer_loses_it_and_learns_that() -> None:
    clock, (first, second) = leases()
    first.acquire()
    clock.seconds += LEASE_SECONDS + 1
    second.acquire()
    with pytest.raises(LeaseHeldError):
        first.renew()
    second.renew()
    first.release()  # gives nothing of the other's back
    second.renew()


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 10 * 365 * 86400.0, -10 * 365 * 86400.0])
def test_a_clock_that_jumps_ends_no_lease_of_its_holder(jump: float) -> None:
    clock, (first, second) = leases()
    first.acquire()
    clock.seconds += jump
    first.renew()
    with pytest.raises(LeaseHeldError):
        second.acquire()


def test_a_service_that_starts_again_takes_its_own_lease_over() -> None:
    clock, store = Clock(), MemoryBlobStore()
    before = Lease(store, Path("/data/a.db"), now_us=clock)
    before.acquire()
    after = Lease(store, Path("/data/a.db"), now_us=clock)
    after.acquire()
    with pytest.raises(LeaseHeldError):
        before.renew()


def test_a_damaged_record_belongs_to_nobody() -> None:
    clock, store = Clock(), MemoryBlobStore()
    store.put("lease", b"\x00not json")
    Lease(store, Path("/data/a.db"), now_us=clock).acquire()
