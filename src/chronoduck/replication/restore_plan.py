"""What a restore takes: decided from the listing and the records alone, before anything is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from chronoduck.engine.disk_format import BLOCK_BYTES, HEADER_BYTES
from chronoduck.errors import DuckDBException
from chronoduck.replication.archive import Archive
from chronoduck.replication.block_table import BlockChange, BlockTable
from chronoduck.replication.failures import ReplicaDamagedError, RestoreTargetError
from chronoduck.replication.history import GenerationListing, Listing
from chronoduck.replication.records import Base, Segment, SegmentName, generation_number
from chronoduck.storage import BlobNotFoundError
from chronoduck.units import format_count

__all__ = [
    "PointName",
    "RestorePlan",
    "RestorePoint",
    "list_points",
    "plan_restore",
    "time_text",
]

_CLOCK_SECONDS = 5.0
"""How far a point's time may be from what the clock said before that is told."""
_POINT = re.compile(r"([0-9]{8}-[0-9a-f]+)\+([0-9]+)")


def time_text(time_us: int) -> str:
    """Return a point's time for people and for ``--to``."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class PointName:
    """A point's place in the order that no clock can change: generation, bytes of its log."""

    generation: str
    offset: int

    @classmethod
    def parse(cls, text: str) -> PointName | None:
        """Return what a text such as ``00000012-9f3ac1+512`` names, None when it is no such name."""
        match = _POINT.fullmatch(text)
        return match and cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"{self.generation}+{self.offset}"


@dataclass(frozen=True)
class RestorePoint:
    """A state of the database that the replica can give back."""

    generation: str
    offset: int
    """Bytes of the generation's log."""
    time_us: int
    commits: int
    """Transactions in it, since the replica began."""
    clock_us: int = 0
    """What the clock said when it was shipped, where that is far from ``time_us``."""
    proof: str = ""
    """``proven`` or ``replayed``, when that was tried on a copy; else empty."""
    lost: str = ""
    """A pack that it needs and that the store does not have any more; empty when all are listed."""

    @property
    def name(self) -> PointName:
        """Its place in the order, which no clock can change."""
        return PointName(self.generation, self.offset)

    @property
    def order(self) -> tuple[int, str, int]:
        """What sorts points by when they were made, whatever the clock said."""
        return generation_number(self.generation), self.generation, self.offset


@dataclass(frozen=True)
class RestorePlan:
    """Everything that a restore needs, and how much it is."""

    point: RestorePoint
    headers: bytes = field(repr=False)
    block_count: int
    packs: dict[str, tuple[BlockChange, ...]] = field(repr=False)
    """Which blocks to take of each pack."""
    segments: tuple[SegmentName, ...]
    log_sha256: str | None
    """Of the log's bytes that the segments hold together; None when there are none."""
    download_bytes: int
    warnings: tuple[str, ...] = ()
    """Sentences about what an operator should know of this point."""

    @property
    def file_bytes(self) -> int:
        """Size of the database file."""
        return HEADER_BYTES + self.block_count * BLOCK_BYTES

    @property
    def log_bytes(self) -> int:
        """Size of the log beside it, which is then folded into the file."""
        return self.point.offset


def list_points(
    archive: Archive,
    listing: Listing,
    executor: Executor,
    on_damage: Callable[[str], None] = lambda sentence: None,
) -> list[RestorePoint]:
    """Return every restore point whose records are whole, oldest first; the others are told apart."""
    points = []
    for generation in listing.generations:
        try:
            base = archive.read_base(generation.name)
            lost = archive.missing_before(listing, generation.name, base.previous)
            if lost:
                on_damage(_lost_sentence(lost, archive.url))
            needed = _NeededPacks(archive, listing, base.blocks)
            points.append(needed.marked(_base_point(generation, base)))
            for segment, _ in archive.read_segments(generation.chain(), executor):
                needed.apply(segment)
                points.append(needed.marked(_segment_point(generation, base, segment)))
            _check_gap(archive, generation)
        except (ReplicaDamagedError, BlobNotFoundError) as error:
            on_damage(error.detail)
    for each in listing.headless():
        on_damage(_headless_sentence(each, archive.url))
    return points


class _NeededPacks:
    """What the points of one generation need: it is looked at only when the store lacks some of it."""

    def __init__(self, archive: Archive, listing: Listing, table: BlockTable) -> None:
        self._archive, self._listing = archive, listing
        self._table = table
        self._missing: set[str] = set()
        self._look(set(table.blocks_by_pack()))

    def _look(self, packs: set[str]) -> None:
        self._missing |= self._archive.unlisted(packs - self._missing, self._listing).keys()

    def apply(self, segment: Segment) -> None:
        """Go on to the next point."""
        self._table.apply(segment.changes)
        self._table.resize(max(len(self._table), segment.block_count))
        self._look({change.pack for change in segment.changes})

    def marked(self, point: RestorePoint) -> RestorePoint:
        """Return the point with the first pack that it lacks."""
        if not self._missing:
            return point
        lost = sorted(self._missing & set(self._table.blocks_by_pack()))
        return replace(point, lost=lost[0]) if lost else point


def _lost_sentence(name: str, url: str) -> str:
    return f"generation {name} in {url} is missing: its points in time cannot be restored"


def _headless_sentence(generation: GenerationListing, url: str) -> str:
    return (
        f"the base of generation {generation.name} in {url} is missing: its "
        f"{format_count(len(generation.segments), 'point')} in time cannot be restored"
    )


def _base_point(generation: GenerationListing, base: Base) -> RestorePoint:
    return RestorePoint(
        base.generation,
        0,
        base.time_us,
        base.commits,
        _far_clock(base.time_us, base.clock_us),
        _proof(generation, 0),
    )


def _segment_point(generation: GenerationListing, base: Base, segment: Segment) -> RestorePoint:
    return RestorePoint(
        base.generation,
        segment.end,
        segment.time_us,
        base.commits + segment.commits,
        _far_clock(segment.time_us, segment.clock_us),
        _proof(generation, segment.end),
    )


def _far_clock(time_us: int, clock_us: int) -> int:
    return clock_us if clock_us and abs(time_us - clock_us) > _CLOCK_SECONDS * 1e6 else 0


def _proof(generation: GenerationListing, offset: int) -> str:
    for level in ("proven", "replayed"):
        until = generation.proved_until(level)
        if until is not None and until >= offset:
            return level
    return ""


def plan_restore(
    archive: Archive,
    listing: Listing,
    executor: Executor,
    to_us: int | None = None,
    at: PointName | None = None,
) -> RestorePlan:
    """Return the plan for the newest point, the newest one not after ``to_us``, or the one ``at``.

    Raises:
        RestoreTargetError: the replica is empty, begins later, or has no such point.
        ReplicaDamagedError: something that the plan needs is missing or damaged, or was lost between
            the point found and the time asked for.
    """
    jumped = False
    damage: DuckDBException | None = None
    if at is not None:
        generation, base = _find(archive, listing, at)
    else:
        generation, base, damage, jumped = _choose(archive, listing, to_us)
    table, last, names = base.blocks, None, []
    is_beyond = False
    try:
        for name, (segment, _) in zip(
            generation.chain(), archive.read_segments(generation.chain(), executor), strict=True
        ):
            jumped = jumped or bool(
                segment.clock_step_us or _far_clock(segment.time_us, segment.clock_us)
            )
            is_beyond = is_beyond or (
                segment.time_us > to_us
                if to_us is not None
                else at is not None and segment.end > at.offset
            )
            if is_beyond:  # read on all the same: a clock that was set later makes times doubtful
                damage = None
                continue
            table.apply(segment.changes)
            table.resize(max(len(table), segment.block_count))
            names.append(name)
            last = segment
        if at is None and not is_beyond:
            _check_gap(archive, generation)
    except (ReplicaDamagedError, BlobNotFoundError) as error:
        damage = None if is_beyond else error
    point = _segment_point(generation, base, last) if last else _base_point(generation, base)
    # Points are named by the millisecond. Between this one and the time asked for may be lost ones.
    if damage is not None and (to_us is None or to_us // 1000 > point.time_us // 1000):
        raise damage
    if at is not None and point.offset != at.offset:
        raise RestoreTargetError(
            f"there is no point {at} in {archive.url}",
            hint="chronoduck restore --list shows the points.",
        )
    packs = {name: tuple(changes) for name, changes in table.blocks_by_pack().items()}
    missing = sorted(archive.unlisted(packs, listing))
    if missing:
        raise ReplicaDamagedError(
            f"{format_count(len(missing), 'pack')} of generation {generation.name} not found in "
            f"{archive.url}: {missing[0]}{' and others' if len(missing) > 1 else ''}"
        )
    return RestorePlan(
        point=point,
        headers=base.headers,
        block_count=len(table),
        packs=packs,
        segments=tuple(names),
        log_sha256=last.log_sha256 if last else None,
        download_bytes=generation.size + sum(listing.packs.get(pack, 0) for pack in packs),
        warnings=_warnings(point, is_by_time=to_us is not None, jumped=jumped),
    )


def _warnings(point: RestorePoint, *, is_by_time: bool, jumped: bool) -> tuple[str, ...]:
    found = []
    if is_by_time and (jumped or point.clock_us):
        clock = f" (the clock then said {time_text(point.clock_us)})" if point.clock_us else ""
        found.append(
            f"the clock was set while points around this time were made{clock}: look at "
            f"`chronoduck restore --list` and name the point, as in --to {point.name}"
        )
    if point.offset and point.proof != "proven":
        found.append(
            "the WAL up to this point was replayed on a copy, but not proven by a checkpoint"
            if point.proof
            else "the WAL up to this point was never replayed on a copy: this restore is the first time"
        )
    return tuple(found)


def _check_gap(archive: Archive, generation: GenerationListing) -> None:
    beyond = generation.after_gap()
    if beyond is not None:
        raise ReplicaDamagedError(f"a segment before {beyond.blob} in {archive.url} is missing")


def _find(archive: Archive, listing: Listing, at: PointName) -> tuple[GenerationListing, Base]:
    generation = listing.find(at.generation)
    if generation is None:
        raise RestoreTargetError(
            f"there is no generation {at.generation} in {archive.url}",
            hint="chronoduck restore --list shows the points.",
        )
    return generation, archive.read_base(generation.name)


def _choose(
    archive: Archive, listing: Listing, to_us: int | None
) -> tuple[GenerationListing, Base, DuckDBException | None, bool]:
    """Return the generation that the point is in, and what is wrong with one that may come after it.

    And whether the clock was set back while one of them was made that the time asked for passes over.
    """
    if not listing.generations:
        raise RestoreTargetError(
            f"there is nothing to restore in {archive.url}",
            hint="Check DUCKDB_REPLICA_URL; chronoduck restore --list shows what a replica holds.",
        )
    damage: DuckDBException | None = None
    begins = ""
    jumped = False
    headless = listing.headless()
    for generation in reversed(listing.generations):
        while headless and headless[-1].number >= generation.number:
            # Its points come after this generation's; what time they had, only its base knew.
            lost = headless.pop()
            damage = damage or ReplicaDamagedError(_headless_sentence(lost, archive.url))
        try:
            base = archive.read_base(generation.name)
        except (ReplicaDamagedError, BlobNotFoundError) as error:
            if to_us is None:
                raise
            damage = damage or error
            continue
        if to_us is None or base.time_us <= to_us:
            return generation, base, damage, jumped
        damage, begins = None, time_text(base.time_us)
        clock_us = _far_clock(base.time_us, base.clock_us)
        jumped = jumped or 0 < clock_us <= to_us
        before = archive.missing_before(listing, generation.name, base.previous)
        if before:
            damage = ReplicaDamagedError(_lost_sentence(before, archive.url))
    if damage is not None:
        raise damage
    raise RestoreTargetError(
        f"the replica in {archive.url} begins at {begins}, after the time asked for",
        hint="chronoduck restore --list shows the points in time.",
    )
