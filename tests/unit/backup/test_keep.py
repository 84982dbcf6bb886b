"""Which backups stay: properties of the rules, and the guide's thirty days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chronoduck.backup.keep import select_expired
from chronoduck.settings import BackupSettings

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)


def test_hourly_backups_of_forty_days() -> None:
    times = [NOW - timedelta(hours=age) for age in range(40 * 24)]
    kept = set(times) - select_expired(times, NOW, BackupSettings())
    ages = sorted((NOW - time) / timedelta(hours=1) for time in kept)
    assert ages[:48] == list(range(48))
    days = {time.date() for time in kept}
    assert len(days) == 30
    assert max(ages) <= 30 * 24


def test_backups_made_by_hand_stay_for_a_day() -> None:
    times = [NOW - timedelta(minutes=age) for age in range(0, 60, 5)]
    assert select_expired(times, NOW, BackupSettings()) == set()


@given(
    ages=st.lists(st.integers(0, 400 * 24 * 60), max_size=60, unique=True),
    rules=st.builds(
        BackupSettings,
        keep_days=st.integers(1, 400),
        keep_hourly=st.integers(0, 50),
        keep_daily=st.integers(0, 40),
        keep_weekly=st.integers(0, 10),
        keep_monthly=st.integers(0, 12),
    ),
)
def test_the_newest_stays_and_deciding_again_changes_nothing(
    ages: list[int], rules: BackupSettings
) -> None:
    times = [NOW - timedelta(minutes=age) for age in ages]
    expired = select_expired(times, NOW, rules)
    kept = [time for time in times if time not in expired]
    assert expired <= set(times)
    if times:
        assert max(times) in kept
    silences = [b - a for a, b in pairwise(sorted([*times, NOW]))]
    if max(silences, default=NOW - NOW) <= timedelta(days=rules.keep_days) / 2:
        assert all(time >= NOW - timedelta(days=rules.keep_days) for time in sorted(kept)[:-1])
    assert select_expired(kept, NOW, rules) == set()


def test_a_clock_that_jumps_deletes_little() -> None:
    times = [NOW - timedelta(hours=age) for age in range(30 * 24)]
    before = set(times) - select_expired(times, NOW, BackupSettings())
    for jump in (timedelta(days=45), timedelta(days=3650), -timedelta(days=45)):
        then = NOW + jump
        later = [*before, then, then + timedelta(hours=1)]
        gone = select_expired(later, then + timedelta(hours=1), BackupSettings())
        left = before - gone
        assert len({time.date() for time in left}) >= 14, jump


def test_a_machine_that_was_off_catches_up_with_the_rules() -> None:
    old = [NOW - timedelta(days=90 + age) for age in range(30)]
    new = [NOW - timedelta(days=age) for age in range(17)]
    assert select_expired([*old, *new], NOW, BackupSettings()) == set(old)
