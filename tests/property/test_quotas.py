"""Limits over time under any sequence of requests and clock advances, against a plain model."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from chronoduck.errors import QuotaExceededError
from chronoduck.principals import Limits, Principal, Role
from chronoduck.resilience.spending import SpendingWindow
from chronoduck.service.quotas import Quotas

MINUTE, HOUR, STEP = 60.0, 3600.0, 10.0

# Quarters of seconds are exact as floats: the model and the code agree on every boundary.
advances = st.one_of(st.just(0.0), st.integers(1, 300).map(lambda quarters: quarters / 4))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def accepts(call: Callable[[], None]) -> QuotaExceededError | None:
    try:
        call()
    except QuotaExceededError as error:
        return error
    return None


@settings(max_examples=300)
@given(limit=st.integers(1, 6), waits=st.lists(advances, max_size=80))
def test_no_minute_has_more_requests_than_the_limit_and_none_is_refused_below_it(
    limit: int, waits: list[float]
) -> None:
    clock = Clock()
    someone = Principal("ann", Role.ANALYST, "key:1", limits=Limits(requests_per_minute=limit))
    account = Quotas(clock=clock).account(someone)
    accepted: list[float] = []
    for wait in waits:
        clock.now += wait
        within = [moment for moment in accepted if moment + MINUTE > clock.now]
        refusal = accepts(account.count_request)
        assert (refusal is not None) == (len(within) >= limit)
        if refusal is None:
            accepted.append(clock.now)
        else:
            # Retry-After is true: not a moment too late, and not too early either.
            assert refusal.retry_after_seconds == within[-limit] + MINUTE - clock.now
    for start in accepted:
        assert sum(start <= moment < start + MINUTE for moment in accepted) <= limit


@settings(max_examples=300)
@given(
    limit=st.integers(1, 40),
    steps=st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 40)), max_size=60),
)
def test_engine_time_of_an_hour_is_never_counted_short_nor_kept_longer_than_a_step(
    limit: int, steps: list[tuple[int, int]]
) -> None:
    clock = Clock()
    someone = Principal("ann", Role.ANALYST, "key:1", limits=Limits(engine_seconds_per_hour=limit))
    account = Quotas(clock=clock).account(someone)
    spent: list[tuple[float, float]] = []
    for wait, quarters in steps:
        clock.now += wait / 4
        certain = sum(amount for moment, amount in spent if moment + HOUR > clock.now)
        at_most = sum(amount for moment, amount in spent if moment + HOUR + STEP > clock.now)
        refusal = accepts(account.check_engine_time)
        if refusal is None:
            assert certain < limit
            account.end_step(object(), quarters / 4)  # type: ignore[arg-type] # was not begun
            spent.append((clock.now, quarters / 4))
        else:
            assert at_most >= limit
            assert refusal.retry_after_seconds is not None
            assert 0 < refusal.retry_after_seconds <= HOUR
            clock.now += refusal.retry_after_seconds
            assert accepts(account.check_engine_time) is None


@settings(max_examples=200)
@given(amounts=st.lists(st.tuples(st.integers(0, 8000), st.integers(1, 9)), max_size=200))
def test_a_window_with_steps_stays_small(amounts: list[tuple[int, int]]) -> None:
    window, now = SpendingWindow(HOUR, STEP), 0.0
    for wait, amount in amounts:
        now += wait / 100
        window.spend(now, amount)
    assert len(window._entries) <= HOUR / STEP + 1


@settings(max_examples=100)
@given(visits=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 100)), max_size=150))
def test_accounts_are_bounded_and_none_that_counts_is_given_up_for_an_idle_one(
    visits: list[tuple[int, int]],
) -> None:
    clock = Clock()
    quotas = Quotas(lambda role: Limits(requests_per_minute=5), clock=clock, remembered=10)
    for number, wait in visits:
        clock.now += wait
        before = {each["id"]: each["usage"]["requests"]["used"] for each in quotas.usage()}
        name = f"key:{number}"
        accepts(quotas.account(Principal("x", Role.ANALYST, name)).count_request)
        after = {each["id"] for each in quotas.usage()}
        assert name in after
        assert len(after) <= 10
        gone = set(before) - after
        if gone and any(before[each] for each in gone):
            assert all(before.values()), "one that counts was given up beside an idle one"
