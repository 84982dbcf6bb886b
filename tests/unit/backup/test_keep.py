"""Which backups stay: properties of the rules, and the guide's thirty days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoduck.backup.keep import select_expired
from chronoduck.backup.order import Made, in_order, note_made, read_made
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


@pytest.mark.parametrize("jump", [timedelta(days=2), timedelta(days=400), -timedelta(days=2)])
def test_a_clock_that_is_set_ahead_and_back_deletes_no_backup_of_the_day(jump: timedelta) -> None:
    """All that were made by hand before something risky are younger than a day in truth."""
    right = [NOW - timedelta(minutes=age) for age in (50, 40, 30, 20)]
    wrong = NOW - timedelta(minutes=10) + jump
    made = {
        time: Made(number, "boot", 60.0 * number * 10)
        for number, time in enumerate([*right, wrong])
    }
    during = select_expired([*right, wrong], wrong, BackupSettings(), made, Made(0, "boot", 2400.0))
    after = select_expired([*right, wrong], NOW, BackupSettings(), made, Made(0, "boot", 3000.0))
    assert (during, after) == (set(), set())


def test_backups_stamped_in_the_future_do_not_end_the_retention() -> None:
    """Each later one would count as younger than a day until the clock gets there."""
    future = NOW + timedelta(days=365)
    times = [NOW - timedelta(hours=age) for age in range(40 * 24)]
    gone = select_expired([*times, future], NOW, BackupSettings())
    kept = [time for time in times if time not in gone]
    assert max(NOW - time for time in kept) <= timedelta(days=30)
    assert len(kept) < 100


def test_backups_are_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    note = tmp_path / "order"
    ids = [
        "20261126_000000",
        "20261124_000000",
        "20261125_000000",
    ]  # stamped by a clock that jumped
    for count, name in enumerate(ids):
        note_made(note, name, ids[:count])
    older = "20261120_000000"  # of a version without the note
    named = [(name, name) for name in sorted([older, *ids])]
    assert in_order(named, read_made(note)) == [older, *ids]
    note_made(note, "20261127_000000", ids[1:])
    assert set(read_made(note)) == {*ids[1:], "20261127_000000"}
    note.write_bytes(b"{")
    assert read_made(note) == {}
