"""What is deleted from a replica: never what a restore inside the window needs."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chronoduck.engine.inspection import inspect_database
from chronoduck.replication.archive import Archive
from chronoduck.replication.envelope import Envelope
from chronoduck.replication.recovery import restore_database
from chronoduck.replication.retention import (
    GenerationFacts,
    PrunePlan,
    apply_plan,
    finish_plan,
    plan_pruning,
    read_facts,
)
from chronoduck.replication.verification import verify_replica
from chronoduck.storage import StoreError
from chronoduck.storage.directory import DirectoryBlobStore

GOLDEN = Path(__file__).parents[2] / "golden" / "replica-format-1" / "plain"
HOUR = 3_600_000_000


def facts(number: int, time_us: int, packs: Iterable[int]) -> GenerationFacts:
    name = f"{number:08d}-abcdef"
    return GenerationFacts(
        name,
        time_us,
        frozenset(f"packs/{pack:08d}-abcdef-000000" for pack in packs),
        (f"generations/{name}/base", f"generations/{name}/wal/0-1"),
    )


@given(
    gaps=st.lists(st.integers(0, 100 * HOUR), min_size=1, max_size=30),
    packs=st.lists(st.sets(st.integers(1, 30), max_size=6), min_size=30, max_size=30),
    detail=st.integers(0, 48),
    retention=st.integers(0, 400),
)
def test_nothing_that_the_window_needs_is_planned_away(
    gaps: list[int], packs: list[set[int]], detail: int, retention: int
) -> None:
    generations, now = [], 0
    for number, gap in enumerate(gaps, start=1):
        now += gap
        generations.append(facts(number, now, packs[number - 1]))
    known = {f"packs/{pack:08d}-abcdef-000000" for pack in range(1, 31)}
    plan = plan_pruning(
        generations,
        known,
        detail_us=detail * HOUR,
        retention_us=(detail + retention) * HOUR,
        current=len(gaps) + 1,
    )
    gone = set(plan.names)
    kept = [each for each in generations if each.blobs[0] not in gone]
    assert generations[-1] in kept  # the newest always stays
    for each in kept:
        assert not gone & set(each.blobs)
        assert not gone & each.packs
    for each, following in itertools.pairwise(generations):
        if now - following.time_us <= detail * HOUR:  # its end is inside the window
            assert each in kept
    # Done again, there is nothing left to do.
    again = plan_pruning(
        kept,
        known - gone,
        detail_us=detail * HOUR,
        retention_us=(detail + retention) * HOUR,
        current=len(gaps) + 1,
    )
    assert again.names == ()


@given(
    steps=st.lists(
        st.tuples(
            st.integers(1, 10 * HOUR),  # time that passes
            st.integers(-100 * HOUR, 100 * HOUR),  # the clock is set
            st.booleans(),  # a segment tells of it; else the writer was off, and it is undone later
            st.booleans(),  # the segment belongs to the next generation
        ),
        min_size=1,
        max_size=12,
    ),
    detail=st.integers(0, 48),
)
@example(
    [*[(HOUR, 0, True, False)] * 2, (HOUR, 90 * HOUR, True, False), (HOUR, 0, True, False)], 10
)
@example(
    [*[(HOUR, 0, True, False)] * 2, (HOUR, 90 * HOUR, False, False), (HOUR, 0, True, False)], 10
)
def test_a_clock_that_jumps_ages_nothing(
    steps: list[tuple[int, int, bool, bool]], detail: int
) -> None:
    now, offset, undo, last_us = 0, 1_000_000 * HOUR, 0, 0
    bases, noticed, real = [], [0] * (len(steps) + 2), []
    for number, (passed, jump, is_noticed, is_late) in enumerate([*steps, (1, 0, True, False)]):
        said = now + offset
        last_us = max(said, last_us + 1)
        bases.append((last_us, said if said != last_us else 0))
        real.append(now)
        if number == len(steps) - 1:
            jump, is_noticed = -undo, True
        if is_noticed:
            noticed[number + is_late] += max(0, jump)
        else:
            undo += max(0, jump)
        now, offset = now + passed, offset + jump
    generations = [
        dataclasses.replace(facts(number, at, ()), clock_us=clock, steps_us=noticed[number])
        for number, (at, clock) in enumerate(bases)
    ]
    plan = plan_pruning(
        generations,
        (),
        detail_us=detail * HOUR,
        retention_us=detail * HOUR,
        current=99,
        pending_steps_us=noticed[len(bases)],
    )
    for number in range(len(bases) - 1):
        if real[-1] - real[number + 1] <= detail * HOUR:
            assert f"generations/{generations[number].name}/base" not in plan.names


def test_days_after_a_jump_and_back_time_ages_again() -> None:
    """The times of points stand still until the clock has caught up: the clock itself decides."""
    years = 10 * 365 * 24 * HOUR
    before = [facts(number, number * HOUR, ()) for number in range(3)]
    ahead = dataclasses.replace(facts(3, years, ()), steps_us=years)
    after = [
        dataclasses.replace(facts(number, years + number, ()), clock_us=number * HOUR)
        for number in range(4, 60)
    ]
    plan = plan_pruning(
        [*before, ahead, *after], (), detail_us=5 * HOUR, retention_us=30 * HOUR, current=99
    )
    kept = {int(each.name[:8]) for each in [*before, ahead, *after]} - {
        int(name.split("/")[1][:8]) for name in plan.names if name.endswith("/base")
    }
    assert kept == set(range(28, 60))


class BreakingStore(DirectoryBlobStore):
    """Deletes some blobs, and then its process is gone."""

    left = 0

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            if not self.left:
                raise StoreError("killed")
            self.left -= 1
            super().delete([name])


def plan_of(archive: Archive) -> PrunePlan:
    listing = archive.listing()
    with ThreadPoolExecutor(1) as executor:
        generations = read_facts(archive, listing, executor)
    # A third generation, a week later, which needs nothing of the first.
    newest = generations[-1]
    later = dataclasses.replace(
        newest, name="99999999-abcdef", time_us=newest.time_us + 7 * 24 * HOUR
    )
    return plan_pruning(
        [*generations, later], listing.packs, detail_us=0, retention_us=0, current=99
    )


@pytest.mark.parametrize("deletions", range(5))
def test_a_deletion_that_was_killed_is_finished_later(deletions: int, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "store")
    store = BreakingStore(tmp_path / "store")
    archive = Archive(store, Envelope())
    before = tmp_path / "before.db"
    restore_database(archive, before)
    plan = plan_of(archive)
    assert plan.generations == 1
    store.left = deletions
    if deletions <= len(plan.names):  # the note is deleted last
        with pytest.raises(StoreError):
            apply_plan(archive, plan)
    else:
        apply_plan(archive, plan)
    with ThreadPoolExecutor(1) as executor:
        assert verify_replica(archive, executor).damages == ()
    store.left = 99
    finish_plan(archive)
    finish_plan(archive)
    assert plan_of(archive).names == ()
    after = tmp_path / "after.db"
    restore_database(archive, after, verify="full")
    assert inspect_database(after, full=True) == inspect_database(before, full=True)
