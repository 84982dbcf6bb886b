"""The gate of writers: closed for a while, or left to one of them alone."""

from __future__ import annotations

import asyncio

import pytest

from chronoduck.errors import StatementTimeoutError
from chronoduck.resilience.write_gate import WriteGate, WritersBusyError


async def started(*tasks: asyncio.Task[None]) -> None:
    """Let tasks come as far as they can."""
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(task.done() and task.exception() for task in tasks)


async def test_one_is_alone_after_those_before_it_and_before_those_after_it() -> None:
    gate = WriteGate()
    await gate.enter(1)
    alone = asyncio.create_task(gate.enter_alone(5))
    await started(alone)
    after = asyncio.create_task(gate.enter(5))
    await started(after)
    assert not alone.done()
    gate.leave()
    await alone
    await started(after)
    assert not after.done()
    gate.leave_alone()
    await after
    gate.leave()
    async with gate.closed(1):
        pass


async def test_those_that_want_to_be_alone_take_turns() -> None:
    gate = WriteGate()
    inside = 0

    async def visit() -> None:
        nonlocal inside
        await gate.enter_alone(5)
        inside += 1
        assert inside == 1
        await asyncio.sleep(0)
        inside -= 1
        gate.leave_alone()

    await asyncio.gather(*(visit() for _ in range(20)))


async def test_one_who_gives_up_lets_the_others_in() -> None:
    gate = WriteGate()
    await gate.enter(1)
    with pytest.raises(WritersBusyError):
        await gate.enter_alone(0.01)
    task = asyncio.create_task(gate.enter_alone(5))
    await started(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gate.enter(0)
    gate.leave()
    await gate.stay_alone(1)
    with pytest.raises(StatementTimeoutError):
        await gate.enter(0.01)
    gate.leave_alone()
    await gate.enter(0)
    gate.leave()
    async with gate.closed(1):
        pass


async def test_two_that_are_inside_do_not_wait_for_each_other() -> None:
    gate = WriteGate()
    await gate.enter(1)
    await gate.enter(1)
    first = asyncio.create_task(gate.stay_alone(5))
    await started(first)
    with pytest.raises(WritersBusyError, match="waits for this transaction"):
        await gate.stay_alone(5)
    gate.leave()
    await first
    gate.leave_alone()


async def test_nobody_is_alone_while_it_is_closed() -> None:
    gate = WriteGate()
    async with gate.closed(1):
        with pytest.raises(StatementTimeoutError):
            await gate.enter_alone(0.01)
    await gate.enter_alone(1)
    with pytest.raises(WritersBusyError):
        async with gate.closed(0.01):
            raise AssertionError("somebody is inside")
    gate.leave_alone()
    async with gate.closed(1):
        pass


async def test_a_gate_that_is_closed_again_at_once_lets_nobody_in() -> None:
    gate = WriteGate()
    async with gate.closed(1):
        waiting = asyncio.create_task(gate.enter(5))
        await started(waiting)
    async with gate.closed(1):
        await started(waiting)
        assert not waiting.done()
    await waiting
    gate.leave()
