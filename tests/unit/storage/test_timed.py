"""A store that never answers holds threads, never its caller."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from chronoduck.storage import BlobInfo, MemoryBlobStore, StoreError, TimedBlobStore
from tests.patience import PATIENCE_SECONDS


class SilentStore(MemoryBlobStore):
    """Answers once it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()
        self.calls = 0

    def get(self, name: str) -> bytes:
        self.calls += 1
        self.may_answer.wait()
        return super().get(name)

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        for info in super().list(prefix):
            time.sleep(0.1)
            yield info


def test_a_call_that_is_not_answered_fails_in_time_and_later_calls_at_once() -> None:
    silent = SilentStore()
    store = TimedBlobStore(silent, 0.02)
    try:
        for _ in range(20):
            with pytest.raises(StoreError, match="not answer"):
                store.get("a")
        assert silent.calls == 8
    finally:
        silent.may_answer.set()
    silent.put("a", b"x")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:  # the calls that hung end, and the store is asked again
        try:
            assert store.get("a") == b"x"
            break
        except StoreError:
            assert time.monotonic() < deadline


def test_all_calls_of_a_block_share_its_time() -> None:
    silent = SilentStore()
    store = TimedBlobStore(silent, 60.0)
    started = time.monotonic()
    with store.limited(total_seconds=0.1):
        for _ in range(3):
            with pytest.raises(StoreError):
                store.get("a")
    assert time.monotonic() - started < 30
    silent.may_answer.set()


def test_a_long_listing_that_goes_on_is_an_answer() -> None:
    silent = SilentStore()
    for number in range(6):
        silent.put(f"blob{number}", b"")
    assert len(list(TimedBlobStore(silent, 0.3).list())) == 6
