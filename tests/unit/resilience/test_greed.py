"""Who has to stop when the volume of the database fills."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chronoduck.resilience.greed import Greed

FLOOR = 100_000_000
LOOK_SECONDS = 0.25


class Volume:
    """A volume that somebody fills, looked at four times a second."""

    def __init__(self, free: int) -> None:
        self.free, self.size, self.now = free, 0, 1000.0
        self.greed = Greed(FLOOR, frozenset({"admin"}))
        self.look(0)

    def look(self, grown: int, *writing: str) -> str | None:
        self.now += LOOK_SECONDS
        self.size += grown
        self.free -= grown
        return self.greed.look(self.now, self.free, self.size, set(writing))

    def looks(self, times: int, grown: int, *writing: str) -> list[str]:
        return [found for _ in range(times) if (found := self.look(grown, *writing))]

    def row(self, party: str) -> None:
        self.greed.note(party, 0.002)


def test_who_writes_the_most_stops_and_the_others_go_on() -> None:
    volume = Volume(2 * FLOOR)
    volume.row("bob")
    assert volume.looks(4, 8_000_000, "eve") == ["eve"]
    assert volume.greed.stopped == {"eve"}
    volume.row("bob")
    assert volume.looks(20, 10_000, "bob") == []  # bob's rows are small
    assert volume.free > FLOOR


def test_who_writes_a_row_at_each_look_is_not_the_one() -> None:
    volume = Volume(3 * FLOOR)
    stopped = []
    for _ in range(100):
        volume.row("bob")
        stopped.append(volume.look(4_000_000, "eve"))
    assert next(filter(None, stopped)) == "eve"


def test_whoever_comes_after_it_and_is_as_greedy_stops_too() -> None:
    volume = Volume(2 * FLOOR)
    volume.row("bob")
    assert volume.looks(4, 8_000_000, "eve") == ["eve"]
    assert volume.looks(4, 8_000_000, "mal") == ["mal"]
    assert volume.looks(4, 8_000_000, "bob") == []  # nobody else is left
    assert volume.greed.stopped == {"eve", "mal"}


def test_far_from_the_floor_nobody_stops() -> None:
    volume = Volume(20 * FLOOR)
    volume.row("bob")
    assert volume.looks(40, 40_000_000, "eve") == []


def test_who_writes_slowly_does_not_stop() -> None:
    volume = Volume(2 * FLOOR)
    volume.row("bob")
    assert volume.looks(100, 100_000, "eve") == []


def test_who_is_alone_may_take_all_above_the_floor() -> None:
    volume = Volume(2 * FLOOR)
    volume.row("admin")  # who never stops counts for nobody else
    assert volume.looks(8, 12_000_000, "eve", "admin") == []
    volume.row("bob")
    assert volume.looks(4, 1_000_000, "eve") == ["eve"]


def test_all_go_on_when_there_is_space_or_nobody_else_has_written_for_long() -> None:
    volume = Volume(2 * FLOOR)
    volume.row("bob")
    volume.looks(4, 8_000_000, "eve")
    volume.look(-50_000_000)
    assert volume.greed.stopped == set()
    volume.looks(4, 12_000_000, "eve")
    assert volume.greed.stopped == {"eve"}
    volume.now += 601
    volume.look(0, "eve")
    assert volume.greed.stopped == set()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 30_000_000),
            st.sampled_from(["eve", "bob", "mal", "admin", ""]),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_there_is_always_one_left_who_may_write(steps: list[tuple[int, str, bool]]) -> None:
    volume = Volume(3 * FLOOR)
    seen: set[str] = set()
    for grown, party, is_short in steps:
        if party and is_short:
            volume.row(party)
        seen |= {party} - {"", "admin"}
        found = volume.look(grown, *([] if is_short or not party else [party]))
        assert found is None or found in seen
        assert volume.greed.stopped < seen or not volume.greed.stopped
