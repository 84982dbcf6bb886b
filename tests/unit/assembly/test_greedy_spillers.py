"""Whose statements end when spill files fill the volume of the database."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chronoduck.assembly.greedy_spillers import GreedySpillers
from chronoduck.engine.spill_bound import spill_cap
from chronoduck.settings import Settings

FLOOR = 100
LITTLE, ENOUGH = 2 * FLOOR - 1, 2 * FLOOR


def test_who_ran_while_the_files_grew_the_most_ends(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(disk_floor=FLOOR)
    directory = settings.database_path.parent
    directory.mkdir(parents=True)
    file = directory / "duckdb_temp_storage_DEFAULT-0.tmp"
    spillers = GreedySpillers(settings, lambda: directory)

    def weigh(size: int, *parties: str, free: int = LITTLE) -> str | None:
        file.write_bytes(bytes(size))
        spillers.measure()
        return spillers.weigh(set(parties), free)

    assert weigh(1_000_000, "eve", "bob") is None  # too little to matter
    assert weigh(9_000_000, "eve", "bob", free=ENOUGH) is None
    assert weigh(12_000_000, "eve") == "eve"
    assert weigh(12_000_000, "eve", "bob") is None  # it does not grow
    assert weigh(13_000_000, "eve", "bob") == "eve"  # bob was there half of the time
    assert weigh(9_000_000, "bob") is None
    assert (
        weigh(10_000_000, "bob", "eve") == "bob"
    )  # eve's statement has ended, and its files with it


def test_spill_files_of_another_volume_are_nobodys(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(disk_floor=FLOOR)
    settings.database_path.parent.mkdir(parents=True)
    spillers = GreedySpillers(settings, lambda: None)
    assert spillers.weigh({"eve"}, LITTLE) is None


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
