"""The gate of writers: closed for a while, or left to one of them alone."""

from __future__ import annotations

import asyncio

import pytest

from chronoduck.errors import StatementTimeoutError
from chronoduck.resilience.write_gate import WriteGate, WritersBusyError
from tests.patience import PATIENCE_SECONDS


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


async def test_who_waited_is_inside_before_the_gate_is_closed_again() -> None:
    """Fails when those that close it one after the other keep everybody else out."""
    gate = WriteGate()
    async with gate.closed(1):
        waiting = asyncio.create_task(gate.enter(5))
        await started(waiting)
    closing = asyncio.create_task(_close_once(gate))
    await started(waiting)
    assert waiting.done()
    assert not closing.done()
    gate.leave()
    await closing


async def _close_once(gate: WriteGate) -> None:
    async with gate.closed(PATIENCE_SECONDS):
        pass


async def test_one_that_is_let_in_and_leaves_at_once_is_not_counted() -> None:
    gate = WriteGate()
    let_in = gate.hold()
    waiting = [asyncio.create_task(gate.enter(5)) for _ in range(3)]
    await started(*waiting)
    waiting[0].cancel()
    let_in()
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert [task.cancelled() for task in waiting] == [True, True, False]
    gate.leave()
    async with gate.closed(1):
        pass


async def test_an_alter_behind_a_long_writer_keeps_others_out_for_a_moment_only() -> None:
    """Fails when the gate is shut as long as somebody waits to be alone."""
    gate = WriteGate()
    await gate.enter(1)  # the long one
    loop = asyncio.get_running_loop()
    alone = asyncio.create_task(gate.enter_alone(PATIENCE_SECONDS))
    await started(alone)
    entered = 0
    began = loop.time()
    while loop.time() - began < 2:
        await gate.enter(PATIENCE_SECONDS)
        entered += 1
        await asyncio.sleep(0.01)
        gate.leave()
    assert entered > 10
    assert not alone.done()
    gate.leave()
    await alone
    gate.leave_alone()


async def test_many_that_want_to_be_alone_let_others_in_between() -> None:
    gate = WriteGate()
    left = 50

    async def alter() -> None:
        nonlocal left
        await gate.enter_alone(PATIENCE_SECONDS)
        await asyncio.sleep(0)
        left -= 1
        gate.leave_alone()

    tasks = [asyncio.create_task(alter()) for _ in range(left)]
    await asyncio.sleep(0)
    await gate.enter(PATIENCE_SECONDS)
    assert left > 40
    gate.leave()
    await asyncio.gather(*tasks)
