"""Admission step by step."""

import asyncio

import pytest

from chronoduck.errors import (
    PoolTimeoutError,
    QueueFullError,
    ServiceUnavailableError,
    StatementTimeoutError,
)
from chronoduck.resilience.admission import Admission


async def test_a_free_place_is_taken_without_suspending() -> None:
    admission = Admission(2, 2)
    coroutine = admission.acquire(1.0)
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert ended.value.value == 0.0
    assert admission.running == 1


async def test_waiters_are_served_in_their_order() -> None:
    admission = Admission(1, 10)
    await admission.acquire()
    order: list[int] = []

    async def wait(number: int) -> None:
        await admission.acquire(5)
        order.append(number)
        admission.release()

    tasks = [asyncio.create_task(wait(number)) for number in range(5)]
    await asyncio.sleep(0)
    admission.release()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]
    assert (admission.running, admission.waiting) == (0, 0)


async def test_three_with_long_callers_leave_a_place_to_others_and_one_alone_has_its_share() -> (
    None
):
    """Fails when three with long callers hold all places, and a fourth waits for their end."""
    now = 0.0
    admission = Admission(
        4, 10, seats=8, place_share=3, seat_share=4, fair_seconds=60.0, clock=lambda: now
    )

    async def takes(party: str) -> bool:
        try:
            await admission.acquire(0.001, party, is_capped=True)
        except (StatementTimeoutError, PoolTimeoutError):
            return False
        return True

    def end(party: str) -> None:
        admission.release(party)
        admission.leave(party)

    evil = ("eve", "mal", "mia")
    for party in evil:
        assert await takes(party)
    now = 2.0
    for party in evil:
        end(party)
    # From now on each of them has one, and one is for others.
    assert [await takes(party) for party in evil] == [True] * 3
    assert [await takes(party) for party in evil] == [False] * 3
    waits = asyncio.create_task(admission.acquire(9, "eve", is_capped=True))
    await asyncio.sleep(0)
    assert (admission.waiting, admission.waiting_for_want) == (1, 0)
    for _ in range(5):
        assert await takes("bob")
        assert admission.waiting_for_want == 1
        end("bob")
    waits.cancel()
    await asyncio.sleep(0)
    # An admin is in nobody's way, and nobody is in its.
    await admission.acquire(0.001, "admin")
    end("admin")
    for party in evil:
        end(party)
    now = 100.0
    assert [await takes("eve") for _ in range(4)] == [True, True, True, False]


async def test_many_with_short_callers_take_nothing_from_one_with_a_long_one() -> None:
    now = 0.0
    admission = Admission(4, 10, place_share=3, fair_seconds=60.0, clock=lambda: now)
    await admission.acquire(0, "ann", is_capped=True)
    now = 5.0
    for number in range(20):
        await admission.acquire(0, f"user{number}", is_capped=True)
        admission.release(f"user{number}")
    for _ in range(2):
        await admission.acquire(0, "ann", is_capped=True)
    assert admission.running == 3


async def test_a_full_queue_refuses_at_once_with_the_numbers() -> None:
    admission = Admission(1, 1)
    await admission.acquire()
    waiter = asyncio.create_task(admission.acquire(5))
    await asyncio.sleep(0)
    with pytest.raises(QueueFullError, match="1 statements run and 1 wait") as caught:
        await admission.acquire(5)
    assert caught.value.retry_after_seconds == 1
    assert admission.total_refused == 1
    admission.release()
    await waiter


async def test_a_deadline_ends_the_wait_with_the_numbers() -> None:
    admission = Admission(1, 5)
    await admission.acquire()
    with pytest.raises(StatementTimeoutError, match=r"waited 0\.01 s for a worker \(1 of 1 busy"):
        await admission.acquire(0.01)
    assert admission.waiting == 0


async def test_a_waiter_cancelled_in_the_queue_leaves_it() -> None:
    admission = Admission(1, 5)
    await admission.acquire()
    waiter = asyncio.create_task(admission.acquire(5))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert admission.waiting == 0
    admission.release()
    assert admission.running == 0


async def test_a_waiter_cancelled_at_its_hand_over_passes_the_place_on() -> None:
    admission = Admission(1, 5)
    await admission.acquire()
    first = asyncio.create_task(admission.acquire(5))
    second = asyncio.create_task(admission.acquire(5))
    await asyncio.sleep(0)
    admission.release()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await second
    assert first.cancelled()
    assert (admission.running, admission.waiting) == (1, 0)


async def test_closing_wakes_the_waiters_and_refuses_newcomers() -> None:
    admission = Admission(1, 5)
    await admission.acquire()
    waiter = asyncio.create_task(admission.acquire(5))
    await asyncio.sleep(0)
    admission.close(ServiceUnavailableError("closing"))
    with pytest.raises(ServiceUnavailableError):
        await waiter
    with pytest.raises(ServiceUnavailableError):
        await admission.acquire(5)
    admission.release()
    assert admission.running == 0


async def test_the_estimate_of_the_wait_is_bounded() -> None:
    now = 0.0
    admission = Admission(1, 2, clock=lambda: now)
    await admission.acquire()
    waiters = [asyncio.create_task(admission.acquire()) for _ in range(2)]
    await asyncio.sleep(0)
    for _ in range(2):
        now += 1e6
        admission.release()
        await asyncio.sleep(0)
        waiters.append(asyncio.create_task(admission.acquire()))
        await asyncio.sleep(0)
    with pytest.raises(QueueFullError) as caught:
        await admission.acquire()
    assert caught.value.retry_after_seconds == 30
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
