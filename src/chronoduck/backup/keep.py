"""Which backups may go: decided from their times alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from chronoduck.settings import BackupSettings

__all__ = ["select_expired"]


def select_expired(
    times: Sequence[datetime], now: datetime, rules: BackupSettings
) -> set[datetime]:
    """Return the times whose backups may be deleted.

    All of the last 24 hours stay, for some were made by hand before something risky. Of older ones the
    newest of each of the last ``keep_hourly`` hours that have one stays, and so for days, weeks and
    months; none stays for longer than ``keep_days``. The newest of all always stays.

    One silence counts for at most half of ``keep_days``: a clock that jumps a year ahead must not delete
    all but one.
    """
    newest_first = sorted(set(times), reverse=True)
    ages = _ages(newest_first, now, timedelta(days=rules.keep_days) / 2)
    periods: list[tuple[int, Callable[[datetime], object]]] = [
        (rules.keep_hourly, lambda time: time.strftime("%Y%m%d%H")),
        (rules.keep_daily, lambda time: time.date()),
        (rules.keep_weekly, lambda time: time.isocalendar()[:2]),
        (rules.keep_monthly, lambda time: (time.year, time.month)),
    ]
    kept = {time for time in newest_first if ages[time] < timedelta(days=1)}
    for count, period in periods:
        seen: set[object] = set()
        for time in newest_first:
            if len(seen) == count:
                break
            if period(time) not in seen:
                seen.add(period(time))
                kept.add(time)
    oldest = timedelta(days=rules.keep_days)
    return {time for time in newest_first[1:] if time not in kept or ages[time] > oldest}


def _ages(
    newest_first: Sequence[datetime], now: datetime, longest: timedelta
) -> dict[datetime, timedelta]:
    ages, age, later = {}, timedelta(0), now
    for time in newest_first:
        age += min(later - time, longest)
        ages[time], later = age, time
    return ages
