"""The CPU that the shadow may use by itself."""

from __future__ import annotations

import pytest

from chronoduck.shadow.budget import Budget


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("cost", [0.05, 0.5, 3.0])
def test_the_mean_of_ten_minutes_stays_at_the_share(share: float, cost: float) -> None:
    now, cpu = 100.0, 0.2
    budget = Budget(share, now, cpu)
    used = []
    while now < 3000:
        budget.note(now, cpu)
        if budget.seconds_until_free() == 0:
            cpu += cost
            used.append((now, cost))
        now += 0.5
    for end in range(700, 3000, 50):
        window = sum(each for at, each in used if end - 600 < at <= end)
        assert window <= share * 600 + cost + 0.5


def test_a_start_is_paid_off_before_anything_else() -> None:
    budget = Budget(0.05, 10.0, 1.0)
    assert budget.seconds_until_free() == pytest.approx(20.0)
    budget.note(30.0, 1.0)
    assert budget.seconds_until_free() == pytest.approx(0.0)


def test_quiet_hours_save_up_little() -> None:
    budget = Budget(0.05, 0.0, 0.0)
    budget.note(36_000.0, 0.0)
    budget.note(36_000.0, 1.0)
    assert budget.seconds_until_free() == pytest.approx(10.0)


def test_the_used_share_is_that_of_the_window() -> None:
    budget = Budget(0.05, 0.0, 0.0)
    for second in range(0, 1200, 5):
        budget.note(float(second), 60.0 if second > 300 else 0.0)
    assert budget.used_share == pytest.approx(0.0, abs=0.001)
