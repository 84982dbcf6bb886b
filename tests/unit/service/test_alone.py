"""The gate before the engine: who is let in beside whom."""

from __future__ import annotations

import asyncio

import pytest

from chronoduck.errors import StatementTimeoutError
from chronoduck.service.alone import AloneGate
from tests.patience import PATIENCE_SECONDS

LONG = PATIENCE_SECONDS


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_alone_means_that_nobody_else_is_inside_until_it_lets_them_in() -> None:
    gate = AloneGate()
    await gate.enter(LONG)
    alone = asyncio.create_task(gate.enter_alone("eve", LONG))
    await settle()
    late = asyncio.create_task(gate.enter(LONG))
    await settle()
    assert not alone.done()
    assert not late.done()
    gate.leave()
    assert await alone
    await settle()
    assert not late.done()
    gate.let_in()
    await late
    assert gate.inside == 2


async def test_somebody_who_does_not_leave_is_left_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chronoduck.service.alone.DRAIN_SECONDS", 0.01)
    gate = AloneGate()
    await gate.enter(LONG)
    assert not await gate.enter_alone("eve", LONG)
    assert gate.inside == 2


async def test_two_that_must_be_alone_are_alone_one_after_the_other() -> None:
    gate = AloneGate()
    assert await gate.enter_alone("eve", LONG)
    second = asyncio.create_task(gate.enter_alone("bob", LONG))
    await settle()
    assert not second.done()
    gate.leave()
    gate.end_turn()
    assert await second


async def test_between_two_of_them_others_come_in() -> None:
    gate = AloneGate()
    await gate.enter_alone("eve", LONG)
    other = asyncio.create_task(gate.enter(LONG))
    second = asyncio.create_task(gate.enter_alone("eve", LONG))
    await asyncio.sleep(0.02)
    gate.leave()
    gate.end_turn()
    await other
    assert not second.done()
    gate.leave()
    assert await second


async def test_a_hundred_of_one_do_not_delay_the_turn_of_another() -> None:
    gate = AloneGate()
    order: list[str] = []

    async def go(party: str) -> None:
        await gate.enter_alone(party, LONG)
        order.append(party)
        gate.leave()
        gate.end_turn()

    await gate.enter_alone("eve", LONG)
    tasks = [asyncio.create_task(go("eve")) for _ in range(100)]
    await settle()
    tasks.append(asyncio.create_task(go("bob")))
    await settle()
    gate.leave()
    gate.end_turn()
    await asyncio.gather(*tasks)
    assert order.index("bob") <= 2


@pytest.mark.parametrize("where", ["turn", "drain", "gate"])
async def test_who_leaves_while_waiting_holds_nothing(where: str) -> None:
    gate = AloneGate()
    await (gate.enter_alone("amy", LONG) if where != "drain" else gate.enter(LONG))
    waits = gate.enter(LONG) if where == "gate" else gate.enter_alone("eve", LONG)
    task = asyncio.ensure_future(waits)
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    gate.leave()
    if where != "drain":
        gate.end_turn()
    assert await gate.enter_alone("bob", LONG)
    gate.leave()
    gate.end_turn()
    await gate.enter(LONG)
    assert gate.inside == 1


async def test_a_deadline_holds_at_the_gate_and_for_the_turn() -> None:
    gate = AloneGate()
    await gate.enter_alone("eve", LONG)
    with pytest.raises(StatementTimeoutError):
        await gate.enter(0.01)
    with pytest.raises(StatementTimeoutError):
        await gate.enter_alone("bob", 0.01)
    assert gate.inside == 1
