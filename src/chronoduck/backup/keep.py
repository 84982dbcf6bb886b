"""Which backups may go: decided from their times alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from chronoduck.backup.order import Made
from chronoduck.settings import BackupSettings

__all__ = ["select_expired"]


def select_expired(
    times: Sequence[datetime],
    now: datetime,
    rules: BackupSettings,
    steady: Mapping[datetime, Made] | None = None,
    steady_now: Made | None = None,
) -> set[datetime]:
    """Return the times whose backups may be deleted.

    ``times``: in the order in which they were made where ``steady`` tells when by a clock that cannot
    be set; else they are sorted.

    All of the last 24 hours stay, for some were made by hand before something risky. Of older ones the
    newest of each of the last ``keep_hourly`` hours that have one stays, and so for days, weeks and
    months; none stays for longer than ``keep_days``. The newest of all always stays.

    Ages are measured by ``steady`` as far as it reaches. Beyond that one silence counts for at most
    half of ``keep_days``: a clock that jumps a year ahead must not delete all but one.
    """
    steady = steady or {}
    newest_first = list(dict.fromkeys(reversed(times if steady else sorted(times))))
    ages = _ages(newest_first, now, timedelta(days=rules.keep_days) / 2, steady, steady_now)
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
    newest_first: Sequence[datetime],
    now: datetime,
    longest: timedelta,
    steady: Mapping[datetime, Made],
    steady_now: Made | None,
) -> dict[datetime, timedelta]:
    ages, age, later, made_later = {}, timedelta(0), now, steady_now
    for time in newest_first:
        made = steady.get(time)
        passed = made_later.seconds_since(made) if made_later and made else None
        if passed is None:
            age += min(max(later - time, timedelta(0)), longest)
        else:
            age += timedelta(seconds=passed)
        # One of the future, which a clock that was wrong has stamped, does not push the others there.
        ages[time], later, made_later = age, min(later, time), made
    return ages
