"""The pace of strangers under random arrivals of many clients, flooding and honest ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from chronoduck.resilience.pace import Pace, Turn

PER_CLIENT, TOTAL, MOST = 5.0, 20.0, 8
arrivals = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 12)), max_size=60)
"""Each is a tenth of a second: which client comes, and how often at once."""


@settings(max_examples=150, deadline=None)
@given(arrivals=arrivals, leaving=st.integers(0, 5))
def test_nobody_goes_faster_and_everybody_goes_in_turn(
    arrivals: list[tuple[int, int]], leaving: int
) -> None:
    pace = Pace(PER_CLIENT, TOTAL, most_waiting=MOST)
    through: list[tuple[float, str]] = []
    waiting: Counter[str] = Counter()
    came: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    gone: list[Callable[[], None]] = []
    now = 0.0

    def caller(client: str) -> Callable[[], None]:
        return lambda: through.append((now, client))

    for client_number, times in [*arrivals, *[(0, 0)] * 400]:
        now += 0.1
        for _ in range(times):
            client = f"c{client_number}"
            came[client] += 1
            go = caller(client)
            turn = pace.enter(client, go, now)
            if turn is Turn.NOW:
                assert not waiting[client], "somebody overtook one of its own"
                go()
            elif turn is Turn.LATER:
                waiting[client] += 1
                if len(gone) < leaving:
                    gone.append(go)
                    pace.leave(client, go)
                    waiting[client] -= 1
                    refused[client] += 1
            else:
                assert waiting[client] >= MOST
                refused[client] += 1
            assert waiting[client] <= MOST
        before = len(through)
        for go in pace.serve(now):
            assert go not in gone
            go()
        for _, client in through[before:]:
            waiting[client] -= 1
    assert not pace.is_anybody_waiting
    assert Counter(client for _, client in through) + refused == came
    for client in (None, *came):
        moments = [at for at, who in through if client in (None, who)]
        rate = TOTAL if client is None else PER_CLIENT
        for first in range(len(moments)):
            for last in range(first, len(moments)):
                allowed = 2 * rate + (moments[last] - moments[first]) * rate
                assert last - first + 1 <= allowed + 1e-6


def test_one_that_floods_keeps_nobody_else_waiting() -> None:
    """Also not one of a thousand others behind it: a scraper waits for its own address alone."""
    pace = Pace(PER_CLIENT, TOTAL, most_waiting=1000)
    for _ in range(500):
        pace.enter("flood", lambda: None, 0.0)
    assert pace.enter("scraper", lambda: None, 0.0) is Turn.NOW


def test_clients_that_want_nothing_are_forgotten() -> None:
    pace = Pace(PER_CLIENT, 1e9)
    for number in range(10_000):
        pace.enter(f"c{number}", lambda: None, float(number))
    assert len(pace._clients) < 5000
