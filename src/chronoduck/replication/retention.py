"""What may be deleted from a replica: planned from what it holds, written down, then done."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from chronoduck.replication.archive import Archive
from chronoduck.replication.history import GenerationListing, Listing
from chronoduck.replication.records import PLAN_NAME, generation_number, pack_generation
from chronoduck.replication.removals import NumberRanges, Removals

__all__ = [
    "GenerationFacts",
    "PrunePlan",
    "apply_plan",
    "finish_plan",
    "plan_pruning",
    "read_facts",
]

_HOUR_US = 3_600_000_000
_MAX_GAP_US = 24 * _HOUR_US
_DELETE_AT_ONCE = 500


@dataclass(frozen=True)
class GenerationFacts:
    """What the planner needs to know of a generation."""

    name: str
    time_us: int
    """Of its base."""
    packs: frozenset[str]
    """What any of its restore points needs."""
    blobs: tuple[str, ...]
    """Its base and segments, the base first."""
    clock_us: int = 0
    """What the clock said at its base, where that is not ``time_us``."""
    steps_us: int = 0
    """By how much the clock was set ahead while it was written, as far as that was noticed."""

    @property
    def said_us(self) -> int:
        """What the clock said at its base."""
        return self.clock_us or self.time_us


@dataclass(frozen=True)
class PrunePlan:
    """Names to delete, in an order that is right wherever it is broken off."""

    names: tuple[str, ...]
    generations: int
    """How many generations go."""
    before: int = 0
    """No generation with a smaller number is left."""


def plan_pruning(
    generations: Sequence[GenerationFacts],
    packs: Collection[str],
    *,
    detail_us: int,
    retention_us: int,
    in_use: frozenset[str] = frozenset(),
    current: int,
    fragments: Iterable[str] = (),
    pending_steps_us: int = 0,
) -> PrunePlan:
    """Return what no restore inside the window needs.

    ``generations``: oldest first. ``in_use``: packs that the writer counts on, whoever refers to them.
    Packs made by generation number ``current`` or later stay: they may be on their way into a base.
    ``pending_steps_us``: steps of the clock that no segment tells of yet.
    The window reaches back from the newest generation, not from this machine's clock, and a silence
    of months counts as a day. What the clock was set ahead counts as no time at all, if the writer
    noticed it, or the clock was set back later. Any other jump counts as a day at most.
    """
    keep = _kept(generations, detail_us, retention_us, max(0, pending_steps_us))
    gone = [each for each in generations if each.name not in keep]
    needed = in_use.union(*(each.packs for each in generations if each.name in keep))
    # Bases first: what has no base is invisible, and no restore can begin with half of it.
    names = [each.blobs[0] for each in gone]
    names += [blob for each in gone for blob in each.blobs[1:]]
    names += fragments
    names += sorted(name for name in set(packs) - needed if pack_generation(name) < current)
    kept_numbers = [generation_number(name) for name in keep]
    return PrunePlan(tuple(names), len(gone), min(kept_numbers, default=0))


def _kept(
    generations: Sequence[GenerationFacts], detail_us: int, retention_us: int, ahead: int
) -> set[str]:
    """Return the generations inside the detail window, and beyond it one an hour."""
    keep: set[str] = set()
    age = 0
    last_hour = -1
    later: GenerationFacts | None = None
    for each in reversed(generations):
        # A generation is needed as long as its *end* is in the window: the next one's beginning.
        end_age = age
        ahead += each.steps_us
        if later is not None:
            # What is too much for this gap was false in an older one: a step is often recorded late,
            # and a clock that went back went ahead before.
            passed = later.said_us - each.said_us - ahead
            ahead = max(0, -passed)
            age += min(max(0, passed), _MAX_GAP_US)
        if end_age <= detail_us:
            keep.add(each.name)
        # Hours of the clock, not of age: a window that moves must not thin out what it kept before.
        elif end_age <= retention_us and each.said_us // _HOUR_US != last_hour:
            keep.add(each.name)
            last_hour = each.said_us // _HOUR_US
        later = each
    return keep


def read_facts(archive: Archive, listing: Listing, executor: Executor) -> list[GenerationFacts]:
    """Return the facts of every generation.

    Raises:
        ReplicaDamagedError: a record cannot be read; nothing may be deleted then.
    """
    return [_facts(archive, each, executor) for each in listing.generations]


def _facts(archive: Archive, generation: GenerationListing, executor: Executor) -> GenerationFacts:
    base = archive.read_base(generation.name)
    packs = set(base.blocks.blocks_by_pack())
    steps_us = 0
    for segment, _ in archive.read_segments(sorted(generation.segments), executor):
        packs.update(change.pack for change in segment.changes)
        steps_us += max(0, segment.clock_step_us)
    return GenerationFacts(
        generation.name,
        base.time_us,
        frozenset(packs),
        tuple(generation.blobs()),
        base.clock_us,
        steps_us,
    )


def apply_plan(archive: Archive, plan: PrunePlan) -> None:
    """Write the plan down, record what goes, then delete. Broken off, ``finish_plan`` continues."""
    if plan.names:
        note = {"kind": "retention-plan", "names": list(plan.names), "before": plan.before}
        archive.write_note(PLAN_NAME, note)
        _carry_out(archive, plan.names, plan.before)


def finish_plan(archive: Archive) -> None:
    """Do what is left of a plan: names are never used again, so that doing it twice is harmless."""
    plan = archive.read_note(PLAN_NAME)
    if plan is not None:
        _carry_out(archive, plan["names"], plan.get("before", 0))


def _carry_out(archive: Archive, names: Sequence[str], before: int) -> None:
    parts = [name.split("/") for name in names if name.endswith("/base")]
    gone = NumberRanges.of(generation_number(part[1]) for part in parts)
    archive.note_removals(Removals(retention=gone.union([(0, before - 1)] if before else [])))
    archive.forget_recent(names)
    _delete(archive, names)


def _delete(archive: Archive, names: Sequence[str]) -> None:
    # A store deletes what it is told at once in any order: bases are told of apart.
    bases = [name for name in names if name.endswith("/base")]
    others = [name for name in names if not name.endswith("/base")]
    for group in (bases, others):
        for start in range(0, len(group), _DELETE_AT_ONCE):
            archive.store.delete(group[start : start + _DELETE_AT_ONCE])
    archive.store.delete([PLAN_NAME])
