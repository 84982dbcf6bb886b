"""Whose statements end when spill files fill the volume of the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoduck.assembly.greedy_spillers import Ending, GreedySpillers, Running
from chronoduck.engine.spill_bound import spill_cap
from chronoduck.settings import Settings

FLOOR = 100
MB = 1_000_000
LITTLE, ENOUGH = 2 * FLOOR - 1, 2 * FLOOR


class Volume:
    """Spill files of some size, looked at four times a second while statements run."""

    def __init__(self, settings: Settings) -> None:
        self.directory = settings.database_path.parent
        self.directory.mkdir(parents=True)
        self.spillers = GreedySpillers(settings, lambda: self.directory)
        self.now = 1000.0

    def weigh(self, size: int, *running: str, free: int = LITTLE) -> Ending | None:
        """``running``: names of parties, oldest first, with a number for a statement of its own."""
        file = self.directory / "duckdb_temp_storage_DEFAULT-0.tmp"
        with file.open("wb") as opened:
            opened.truncate(size)
        self.spillers.measure()
        self.now += 0.25
        return self.spillers.weigh(
            [Running(each, each.rstrip("0123456789")) for each in running], free, self.now
        )


@pytest.fixture
def volume(make_settings: Callable[..., Settings]) -> Volume:
    return Volume(make_settings(disk_floor=FLOOR))


def proven(party: str, *ids: str) -> Ending:
    return Ending(frozenset(ids or {party}), party, is_proven=True)


def guessed(party: str, statement: str | None = None) -> Ending:
    return Ending(frozenset({statement or party}), party, is_proven=False)


def test_who_ran_while_the_files_grew_the_most_ends(volume: Volume) -> None:
    weigh = volume.weigh
    assert weigh(1 * MB, "eve", "bob") is None  # too little to matter
    assert weigh(9 * MB, "eve", "bob", free=ENOUGH) is None
    assert weigh(15 * MB, "eve") == guessed("eve")  # bob ran until this look
    assert weigh(20 * MB, "eve") == proven("eve")
    assert weigh(20 * MB, "eve", "bob") is None  # it does not grow
    assert weigh(21 * MB, "eve", "eve2", "bob") == proven("eve", "eve", "eve2")
    weigh(9 * MB, "bob")  # eve's statement has ended, and its files with it
    assert weigh(12 * MB, "bob") == proven("bob")


def test_a_report_that_spills_nothing_goes_on_beside_one_that_spills(volume: Volume) -> None:
    assert volume.weigh(0, "bob") is None
    ended = {volume.weigh(number * 10 * MB, "bob", "eve") for number in range(1, 30)}
    assert ended == {guessed("eve")}


def test_a_report_that_spills_nothing_goes_on_beside_two_that_spill_in_turn(
    volume: Volume,
) -> None:
    volume.weigh(0, "bob")
    ended = set()
    for look in range(200):
        size = (look % 8 + 1) * 50 * MB
        ended.add(volume.weigh(size, "bob", f"eve{look // 8}" if look // 8 % 2 else "mal"))
    parties = {each.party for each in ended if each is not None}
    assert parties == {"eve", "mal"}


def test_who_comes_when_the_files_are_large_is_not_asked_to_go(volume: Volume) -> None:
    volume.weigh(0, "eve", "mal")
    volume.weigh(100 * MB, "eve", "mal", free=ENOUGH)
    for number in range(20):
        assert volume.weigh((101 + number) * MB, "eve", "mal", "bob") == guessed("mal")


def test_who_was_proven_before_goes_first_when_nothing_can_be_told(volume: Volume) -> None:
    volume.weigh(10 * MB, "eve")
    assert volume.weigh(20 * MB, "eve") == proven("eve")
    volume.weigh(0)
    assert volume.weigh(10 * MB, "eve2", "bob") == guessed("eve", "eve2")


def test_admins_are_spared_while_others_run(volume: Volume) -> None:
    volume.weigh(0, "bob", "admin")
    assert volume.weigh(20 * MB, "bob", "admin") == guessed("bob")
    volume.weigh(20 * MB, "admin")
    assert volume.weigh(30 * MB, "admin") == proven("admin")


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["alice", "bob", "eve", "admin"]), st.sampled_from([0, 10_000, 9 * MB])
        ),
        max_size=40,
    )
)
def test_who_spilled_less_than_a_tenth_of_the_largest_is_never_accused(
    schedule: list[dict[str, int]],
) -> None:
    spillers = GreedySpillers(Settings(disk_floor=FLOOR), lambda: None)
    files: Counter[str] = Counter()
    for number, step in enumerate(schedule):
        files = Counter({party: files[party] + grown for party, grown in step.items()})
        spillers._found = sum(files.values())
        ending = spillers.weigh([Running(party, party) for party in step], LITTLE, number / 4)
        if ending is not None and ending.is_proven:
            assert files[ending.party] * 10 >= max(files.values())


def test_spill_files_of_another_volume_are_nobodys(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(disk_floor=FLOOR)
    settings.database_path.parent.mkdir(parents=True)
    spillers = GreedySpillers(settings, lambda: None)
    assert spillers.weigh([Running("eve", "eve")], LITTLE, 0.0) is None


@pytest.mark.parametrize(
    ("floor", "capped"), [(0, 10**18), (1, None), (10**17, 64_000_000)], ids=["off", "free", "full"]
)
def test_at_the_opening_the_cap_leaves_two_floors(
    make_settings: Callable[..., Settings], floor: int, capped: int | None
) -> None:
    directory = make_settings().database_path.parent
    directory.mkdir(parents=True)
    found = spill_cap(directory, directory, 10**18, floor)
    assert found == capped if capped is not None else 64_000_000 < found < 10**18
