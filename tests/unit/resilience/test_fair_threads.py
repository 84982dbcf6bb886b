"""One party never holds the last thread, also not with calls that it has given up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from chronoduck.errors import StatementTimeoutError
from chronoduck.resilience.fair_threads import FairThreads
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
def threads() -> Iterator[FairThreads]:
    made = FairThreads(3, 2, "test")
    yield made
    made.close()


async def test_a_hundred_long_calls_of_one_leave_a_thread_for_others(threads: FairThreads) -> None:
    may_end = threading.Event()
    long = [
        asyncio.create_task(threads.run("eve", may_end.wait, PATIENCE_SECONDS)) for _ in range(100)
    ]
    await asyncio.sleep(0)
    for number in range(5):
        assert await threads.run("bob", lambda value: value + 1, number) == number + 1
    assert threads.admission.running == 2
    may_end.set()
    assert all(await asyncio.gather(*long))
    assert threads.admission.running == threads.admission.seated == 0


async def test_a_call_that_is_given_up_holds_its_thread_until_it_ends(threads: FairThreads) -> None:
    may_end = threading.Event()
    begun = threading.Semaphore(0)

    def wait() -> None:
        begun.release()
        may_end.wait(PATIENCE_SECONDS)

    for _ in range(2):
        given_up = asyncio.create_task(threads.run("eve", wait))
        await asyncio.sleep(0)
        assert begun.acquire(timeout=PATIENCE_SECONDS)  # one that has not begun never will
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
    with pytest.raises(StatementTimeoutError):
        await threads.run("eve", int, timeout=0.05)
    assert await threads.run("bob", int) == 0
    may_end.set()
    assert await threads.run("eve", int) == 0


async def test_an_error_is_the_callers_and_frees_the_thread(threads: FairThreads) -> None:
    for _ in range(10):
        with pytest.raises(ValueError, match="x"):
            await threads.run("eve", int, "x")
    await asyncio.sleep(0)
    assert threads.admission.running == 0
