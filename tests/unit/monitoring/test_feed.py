"""Statements get from the event loop to their thread: all of them, in order, or they are counted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from chronoduck.monitoring.statements import StatementFeed


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


async def test_a_flush_ends_when_all_that_came_before_is_worked_on(
    executor: ThreadPoolExecutor,
) -> None:
    batches: list[list[int]] = []
    feed: StatementFeed[int, None] = StatementFeed(
        lambda batch, _: batches.append(batch), lambda: None, interval=3_600, room=100_000
    )
    feed.put(0)  # before there is a thread
    feed.start(executor)
    for number in range(1, 12_000):
        feed.put(number)
    await feed.flush()
    assert [each for batch in batches for each in batch] == list(range(12_000))
    assert feed.waiting == 0
    await feed.flush()


async def test_what_comes_while_a_flush_waits_does_not_prolong_it(
    executor: ThreadPoolExecutor,
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    done: list[int] = []

    def consume(batch: list[int], _: None) -> None:
        begun.set()
        go_on.wait()
        done.extend(batch)

    feed: StatementFeed[int, None] = StatementFeed(
        consume, lambda: None, interval=3_600, room=1_000
    )
    feed.start(executor)
    feed.put(1)
    flushing = asyncio.ensure_future(feed.flush())
    await asyncio.to_thread(begun.wait)
    feed.put(2)
    go_on.set()
    await flushing
    assert done == [1]
    assert feed.waiting == 1


async def test_a_batch_that_fails_is_counted_and_the_next_one_is_worked_on(
    executor: ThreadPoolExecutor,
) -> None:
    done: list[int] = []

    def consume(batch: list[int], _: None) -> None:
        if 1 in batch:
            raise ValueError("cannot")
        done.extend(batch)

    feed: StatementFeed[int, None] = StatementFeed(
        consume, lambda: None, interval=3_600, room=1_000
    )
    feed.start(executor)
    feed.put(1)
    feed.put(1)
    await feed.flush()
    feed.put(2)
    await feed.stop()
    assert (done, feed.dropped) == ([2], 2)


async def test_after_a_stop_statements_wait_for_the_next_start(
    executor: ThreadPoolExecutor,
) -> None:
    done: list[int] = []
    feed: StatementFeed[int, None] = StatementFeed(
        lambda batch, _: done.extend(batch), lambda: None, interval=3_600, room=3
    )
    feed.start(executor)
    await feed.stop()
    for number in range(5):
        feed.put(number)
    assert (done, feed.waiting, feed.dropped) == ([], 3, 2)
    feed.start(executor)
    await feed.flush()
    assert done == [0, 1, 2]
