"""Schedules on a machine whose clock is set: no run is missed for long, none is made up for."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from chronoduck.assembly import schedule
from chronoduck.assembly.schedule import Schedule

START = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)


class Machine:
    """A clock that can be set, and a minute that lasts a millisecond."""

    def __init__(self) -> None:
        self.now = START
        self.runs: list[datetime] = []

    async def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        await REAL_SLEEP(0)

    async def until(self, seconds: float) -> None:
        """Let the schedule follow the clock for so long."""
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            await REAL_SLEEP(0)


REAL_SLEEP = asyncio.sleep


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(schedule.asyncio, "sleep", made.sleep)
    return made


@pytest.mark.parametrize("jump", [timedelta(days=2), timedelta(days=365)])
async def test_a_clock_set_ahead_and_back_silences_no_schedule(
    machine: Machine, jump: timedelta
) -> None:
    follows = Schedule("*/5 * * * *", lambda: machine.runs.append(machine.now), lambda: machine.now)
    follows.start()
    await machine.until(600)
    assert len(machine.runs) == 2
    machine.now += jump
    await machine.until(120)
    assert len(machine.runs) in (3, 4)  # once for all that were missed
    machine.now -= jump
    before = len(machine.runs)
    await machine.until(1200)
    assert 3 <= len(machine.runs) - before <= 5
    assert follows.next_at is not None
    assert follows.next_at - machine.now <= timedelta(minutes=5)
    await follows.stop()


async def test_a_clock_set_back_begins_earlier_than_it_was_going_to(machine: Machine) -> None:
    follows = Schedule("0 3 * * *", lambda: machine.runs.append(machine.now), lambda: machine.now)
    follows.start()
    await machine.until(3600)
    machine.now -= timedelta(days=30)
    await machine.until(86_400)
    assert [each.date() for each in machine.runs] == [(START - timedelta(days=29)).date()]
    await follows.stop()
