"""A clock that was set is told for ten minutes; one that is corrected slowly is not."""

from __future__ import annotations

import pytest

from chronoduck.monitoring.clock import ClockProbe
from chronoduck.monitoring.health import Status


class Clocks:
    def __init__(self) -> None:
        self.wall, self.steady = 1_800_000_000.0, 50.0
        self.probe = ClockProbe(lambda: self.wall, lambda: self.steady)

    def pass_(self, seconds: float, rate: float = 1.0) -> Status:
        self.steady += seconds
        self.wall += seconds * rate
        return self.probe.finding().status


def test_time_that_passes_is_no_jump() -> None:
    clocks = Clocks()
    for seconds in (0.0, 0.1, 3600.0, 86_400.0 * 30):
        assert clocks.pass_(seconds) is Status.HEALTHY
        assert clocks.pass_(seconds, 1.0005) is Status.HEALTHY
        assert clocks.pass_(seconds, 0.9995) is Status.HEALTHY


@pytest.mark.parametrize("jump", [-86_400.0, -6.0, 6.0, 3600.0])
def test_a_jump_is_told_for_ten_minutes(jump: float) -> None:
    clocks = Clocks()
    assert clocks.pass_(60) is Status.HEALTHY
    clocks.wall += jump
    found = clocks.probe.finding()
    assert found.status is Status.DEGRADED
    assert f"{jump:+.0f} s" in found.reason
    assert "timedatectl" in found.hint
    assert clocks.pass_(599) is Status.DEGRADED
    assert clocks.pass_(2) is Status.HEALTHY
