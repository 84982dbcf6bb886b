"""Who is let in of those who come within a second; the time is passed in."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from chronoduck.resilience.newcomers import Newcomers

PER_CLIENT, TOTAL = 3, 5


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.floats(0, 0.4)), max_size=100))
def test_no_second_has_more_than_its_share_and_nobody_pays_for_another(
    arrivals: list[tuple[str, float]],
) -> None:
    newcomers = Newcomers(PER_CLIENT, TOTAL)
    newcomers.know("a")
    now = 0.0
    seen: Counter[tuple[int, str]] = Counter()
    for client, pause in arrivals:
        now += pause
        second = int(now)
        strangers = sum(seen[second, each] for each in "bcde")
        may = seen[second, client] < PER_CLIENT and (client == "a" or strangers < TOTAL)
        assert newcomers.lets_in(client, now) is may
        seen[second, client] += may


def test_of_many_strangers_only_the_total_comes_in() -> None:
    newcomers = Newcomers(PER_CLIENT, TOTAL)
    for number in range(10_000):
        newcomers.know(f"known{number}")
    assert sum(newcomers.lets_in(f"stranger{number}", 0.0) for number in range(10_000)) == TOTAL
    assert newcomers.lets_in("known9999", 0.0)
    assert not newcomers.lets_in("known0", 0.0)  # forgotten: so many are not remembered
