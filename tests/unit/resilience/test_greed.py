"""Who has to stop when the volume of the database fills."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoduck.resilience.evidence import Evidence
from chronoduck.resilience.greed import Greed

FLOOR = 100_000_000
LOOK_SECONDS = 0.25
PARTIES = ("alice", "bob", "eve", "mal")


class Volume:
    """A volume that somebody fills, looked at four times a second."""

    def __init__(self, free: int) -> None:
        self.free, self.size, self.now = free, 0, 1000.0
        self.greed = Greed(FLOOR, frozenset({"admin", "clerk"}), "clerk")
        self.look(0)

    def look(self, grown: int, *writing: str, loaded: tuple[str, ...] = ()) -> str | None:
        self.now += LOOK_SECONDS
        self._grow(grown)
        self.greed.measure(self.now, self.size, writing, writing)
        self.greed.see(self.now, {*writing, *loaded})
        return self.greed.look(self.now, self.free, self.size, None, loaded)

    def looks(self, times: int, grown: int, *writing: str) -> list[str]:
        return [found for _ in range(times) if (found := self.look(grown, *writing))]

    def row(self, party: str, *others: str, grown: int = 0) -> None:
        """A short write between two looks, while others write."""
        self.greed.measure(self.now, self.size, others)
        self.greed.see(self.now, {party})
        self.greed.begin(party)
        self._grow(grown)
        self.greed.measure(self.now, self.size, others, {party})

    def _grow(self, grown: int) -> None:
        self.size += grown
        self.free -= grown


def test_who_writes_the_most_stops_and_the_others_go_on() -> None:
    volume = Volume(2 * FLOOR)
    volume.row("bob")
    assert volume.looks(4, 8_000_000, "eve") == ["eve"]
    assert volume.greed.stopped == {"eve"}
    assert volume.greed.held == set()
    volume.row("bob")
    assert volume.looks(20, 10_000, "bob") == []  # bob's rows are small
    assert volume.free > FLOOR


def test_who_writes_a_row_at_each_look_is_not_the_one() -> None:
    volume = Volume(3 * FLOOR)
    stopped = []
    for _ in range(100):
        volume.row("bob", "eve", grown=100_000)
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
    volume.row("admin")  # nobody has to stop for who never stops
    assert volume.looks(8, 12_000_000, "eve") == []
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


@pytest.mark.parametrize("attackers", [("mal",), ("mal", "mal2"), ("mal", "mal2", "mal3")])
def test_a_steady_writer_of_small_rows_is_not_stopped_for_the_bursts_of_others(
    attackers: tuple[str, ...],
) -> None:
    volume = Volume(19 * FLOOR)
    stopped = set()
    for number in range(400):
        bursts = number % 4 == 0
        who = attackers[number // 4 % len(attackers)]
        if volume.free < FLOOR:
            break
        writing = ["alice"]
        if bursts and who not in volume.greed.stopped:
            writing.append(who)
        volume.look(100_000 + 6_000_000 * (len(writing) - 1), *writing)
        stopped |= volume.greed.stopped
    assert "alice" not in stopped
    assert volume.free > FLOOR, "nobody stops those who fill it"


def test_who_is_held_back_without_a_cause_writes_on_when_the_cause_is_known() -> None:
    volume = Volume(2 * FLOOR)
    volume.look(0, "eve")
    assert volume.looks(9, 3_000_000, "eve", "bob") == ["bob"]  # came last
    assert volume.greed.held == {"bob"}
    assert volume.looks(3, 6_000_000, "eve") == ["eve"]
    assert volume.greed.stopped == {"eve"}
    assert volume.greed.held == set()


def test_rows_that_the_service_commits_are_those_of_whom_they_were_sent_by() -> None:
    volume = Volume(2 * FLOOR)
    volume.row("bob")
    found = [volume.look(8_000_000, "clerk", loaded=("eve",)) for _ in range(6)]
    assert [*filter(None, found)] == ["eve"]


def test_free_blocks_of_the_file_that_are_used_count_like_growth() -> None:
    volume = Volume(FLOOR)
    volume.row("bob")
    inside, found = FLOOR, set()
    for _ in range(12):
        inside -= 8_000_000
        volume.now += LOOK_SECONDS
        volume.greed.measure(volume.now, 0, {"eve"})
        volume.greed.see(volume.now, {"eve"})
        found.add(volume.greed.look(volume.now, FLOOR, FLOOR - inside, inside))
    assert found == {None, "eve"}
    assert volume.greed.held == set()


def test_what_a_checkpoint_writes_again_is_nobodys() -> None:
    greed = Greed(FLOOR)
    for step in range(20):
        now = 1000 + step * LOOK_SECONDS
        greed.measure(now, step * 8_000_000, {"bob"}, is_checkpoint=True)
        greed.see(now, {"bob", "eve"})
        assert greed.look(now, 2 * FLOOR - 1 - step, step * 8_000_000) is None


Schedule = list[dict[str, int]]
schedules = st.lists(
    st.dictionaries(
        st.sampled_from(PARTIES), st.sampled_from([0, 10_000, 1_000_000, 8_000_000]), max_size=4
    ),
    max_size=60,
)


@given(schedules)
def test_who_caused_less_than_a_tenth_of_the_largest_is_never_accused(schedule: Schedule) -> None:
    volume = Volume(2 * FLOOR)
    caused: Counter[str] = Counter()
    for party in PARTIES:
        volume.row(party)
    for step in schedule:
        caused.update(step)
        found = volume.look(sum(step.values()), *step)
        if found is not None and found not in volume.greed.held:
            assert caused[found] * 10 >= max(caused.values())


@given(schedules)
def test_evidence_is_a_bound_from_below_and_from_above(schedule: Schedule) -> None:
    evidence, caused = Evidence(1e9), Counter[str]()
    for step in schedule:
        caused.update(step)
        evidence.add(0.0, sum(step.values()), step)
    for party in PARTIES:
        assert evidence.possible(party) >= caused[party]
    found = evidence.proven(PARTIES)
    assert found is None or caused[found] * 5 >= max(caused.values())


@given(
    st.lists(
        st.tuples(
            st.integers(0, 30_000_000),
            st.sets(st.sampled_from(["eve", "bob", "mal", "admin"])),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_there_is_always_one_left_who_may_write(steps: list[tuple[int, set[str], bool]]) -> None:
    volume = Volume(3 * FLOOR)
    seen: set[str] = set()
    for grown, parties, is_short in steps:
        if is_short:
            for party in parties:
                volume.row(party)
        seen |= parties - {"admin"}
        found = volume.look(grown, *(() if is_short else parties))
        assert found is None or found in seen
        assert volume.greed.stopped < seen or not volume.greed.stopped
