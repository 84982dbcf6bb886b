"""Time that decides about deletions."""

from __future__ import annotations

import pytest

from chronoduck.resilience.service_time import CarefulClock, ServiceTime


@pytest.mark.parametrize("jump", [2 * 86_400.0, 400 * 86_400.0, -3600.0])
def test_a_careful_clock_follows_no_jump_ahead(jump: float) -> None:
    wall, steady = 1_800_000_000.0, 50.0
    clock = CarefulClock(lambda: wall, lambda: steady)
    wall, steady = wall + 60 + jump, steady + 60
    assert clock.now() == min(1_800_000_060.0, wall)
    wall -= jump
    assert clock.now() == 1_800_000_060.0


def test_service_time_neither_leaps_nor_goes_back() -> None:
    steady = 50.0
    passed = ServiceTime(10, lambda: steady)
    steady += 60
    assert passed.now_us == 60_000_010
    passed.tick()
    steady += 86_400
    assert passed.now_us == 240_000_010
    passed.tick()
    steady -= 100
    assert passed.now_us == 240_000_010
