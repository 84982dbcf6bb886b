"""One writer at a time, also when clocks jump."""

from __future__ import annotations

from pathlib import Path

import pytest

from chronoduck.replication.failures import LeaseHeldError
from chronoduck.replication.lease import LEASE_SECONDS, Lease
from chronoduck.storage.memory import MemoryBlobStore


class Clock:
    """One machine's wall clock, and the time that really passes, which all machines share."""

    def __init__(self, seconds: float = 1_800_000_000.0) -> None:
        self.seconds = seconds
        self.passed = 0.0

    def __call__(self) -> int:
        return int((self.seconds + self.passed) * 1e6)


def leases(ahead: float = 0.0) -> tuple[Clock, Lease, Lease]:
    """Return two writers of one store; the second one's wall clock is ``ahead``."""
    time, store = Clock(), MemoryBlobStore()
    first = Lease(store, Path("/data/0.db"), now_us=time, monotonic=lambda: time.passed)
    second = Lease(
        store,
        Path("/data/1.db"),
        now_us=lambda: time() + int(ahead * 1e6),
        monotonic=lambda: time.passed,
    )
    return time, first, second


def test_a_second_writer_is_told_who_the_first_is() -> None:
    time, first, second = leases()
    first.acquire()
    time.passed += 10 * LEASE_SECONDS  # nobody has watched it meanwhile
    with pytest.raises(LeaseHeldError, match=r"/data/0\.db"):
        second.acquire()
    first.renew()


def test_a_lease_that_was_given_back_is_free_at_once() -> None:
    _, first, second = leases()
    first.acquire()
    first.release()
    second.acquire()
    second.renew()


@pytest.mark.parametrize("ahead", [0.0, 60.0, -60.0, 86400.0 * 365])
def test_a_silent_writer_loses_it_and_learns_that(ahead: float) -> None:
    time, first, second = leases(ahead)
    first.acquire()
    with pytest.raises(LeaseHeldError):
        second.acquire()
    time.passed += LEASE_SECONDS - 1
    with pytest.raises(LeaseHeldError):
        second.acquire()
    time.passed += 1
    second.acquire()
    with pytest.raises(LeaseHeldError):
        first.renew()
    second.renew()
    first.release()  # gives nothing of the other's back
    second.renew()


@pytest.mark.parametrize("ahead", [0.0, 60.0, -60.0, 86400.0 * 365])
@pytest.mark.parametrize("jump", [0.0, 3600.0, -3600.0, 10 * 365 * 86400.0])
def test_the_living_one_keeps_it_whatever_the_clocks_say(ahead: float, jump: float) -> None:
    time, first, second = leases(ahead)
    first.acquire()
    for _ in range(20):
        with pytest.raises(LeaseHeldError):
            second.acquire()
        time.passed += 10.0
        time.seconds += jump
        jump = -jump
        first.renew()


def test_a_clock_that_stands_still_looks_alive() -> None:
    time, store = Clock(), MemoryBlobStore()
    first = Lease(store, Path("/data/0.db"), now_us=lambda: 7, monotonic=lambda: time.passed)
    second = Lease(store, Path("/data/1.db"), now_us=lambda: 7, monotonic=lambda: time.passed)
    first.acquire()
    for _ in range(5):
        with pytest.raises(LeaseHeldError):
            second.acquire()
        time.passed += 10.0
        first.renew()


def test_a_start_waits_for_a_dead_holder_and_for_no_living_one() -> None:
    time, first, second = leases(60.0)
    first.acquire()
    beats = iter([False] * 7 + [True] + [False] * 3)

    def sleep(seconds: float) -> None:
        time.passed += seconds
        if next(beats, False):
            first.renew()

    with pytest.raises(LeaseHeldError):
        second.wait(sleep)
    assert time.passed == pytest.approx(8.0)
    second.wait(sleep)  # no more beats
    assert time.passed <= 8.0 + LEASE_SECONDS + 2


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
