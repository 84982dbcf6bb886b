"""Workers: every step runs once, short ones in order, and a long one holds nobody up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronoduck.engine.workers import Workers
from tests.patience import PATIENCE_SECONDS

LONG = PATIENCE_SECONDS


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(4, young=1)
    yield made
    made.close()


async def test_short_steps_run_one_after_the_other_in_order(workers: Workers) -> None:
    done: list[int] = []
    for number in range(4):
        workers.submit(lambda number=number: done.append(number))
    await until(lambda: len(done) == 4)
    assert done == [0, 1, 2, 3]


async def test_steps_begin_beside_others_that_take_long(workers: Workers) -> None:
    """All four places are used although one step at a time may be young."""
    running = threading.Barrier(4)
    passed = threading.Semaphore(0)

    def step() -> None:
        running.wait(LONG)  # ends only when all four are here
        passed.release()

    for _ in range(4):
        workers.submit(step)
    await until(lambda: passed._value == 4)


async def test_a_step_is_not_held_up_by_a_stuck_one(workers: Workers) -> None:
    may_end, done = threading.Event(), threading.Event()
    workers.submit(lambda: may_end.wait(LONG))
    workers.submit(done.set)
    await until(done.is_set)
    may_end.set()


async def test_closing_runs_what_was_submitted() -> None:
    workers, may_end, done = Workers(2, young=1), threading.Event(), threading.Event()
    workers.submit(lambda: may_end.wait(LONG))
    workers.submit(done.set)
    workers.close()
    await until(done.is_set)
    may_end.set()


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 4),
    young=st.integers(1, 4),
    steps=st.lists(st.sampled_from([0.0, 0.001, 0.004]), max_size=40),
)
def test_every_step_runs_exactly_once(count: int, young: int, steps: list[float]) -> None:
    async def run() -> list[int]:
        workers = Workers(count, young=young)
        places = asyncio.Semaphore(count)  # as admission does
        done: list[int] = []
        loop = asyncio.get_running_loop()

        async def one(number: int, seconds: float) -> None:
            async with places:
                ended = loop.create_future()

                def work() -> None:
                    threading.Event().wait(seconds)
                    done.append(number)
                    loop.call_soon_threadsafe(ended.set_result, None)

                workers.submit(work)
                await asyncio.wait_for(ended, LONG)

        await asyncio.gather(*(one(number, step) for number, step in enumerate(steps)))
        workers.close()
        return done

    assert sorted(asyncio.run(run())) == list(range(len(steps)))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0.001)
