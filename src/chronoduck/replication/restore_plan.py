"""What a restore takes: decided from the listing and the records alone, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from chronoduck.engine.disk_format import BLOCK_BYTES, HEADER_BYTES
from chronoduck.errors import DuckDBException
from chronoduck.replication.archive import Archive
from chronoduck.replication.block_table import BlockChange
from chronoduck.replication.failures import ReplicaDamagedError, RestoreTargetError
from chronoduck.replication.history import GenerationListing, Listing
from chronoduck.replication.records import Base, Segment, SegmentName
from chronoduck.storage import BlobNotFoundError

__all__ = ["RestorePlan", "RestorePoint", "list_points", "plan_restore", "time_text"]


def time_text(time_us: int) -> str:
    """Return a point's time for people and for ``--to``."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class RestorePoint:
    """A state of the database that the replica can give back."""

    generation: str
    offset: int
    """Bytes of the generation's log."""
    time_us: int
    commits: int
    """Transactions in it, since the replica began."""


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
            points.append(_base_point(base))
            for segment, _ in archive.read_segments(generation.chain(), executor):
                points.append(_segment_point(base, segment))
            _check_gap(archive, generation)
        except (ReplicaDamagedError, BlobNotFoundError) as error:
            on_damage(error.detail)
    return points


def _base_point(base: Base) -> RestorePoint:
    return RestorePoint(base.generation, 0, base.time_us, base.commits)


def _segment_point(base: Base, segment: Segment) -> RestorePoint:
    return RestorePoint(
        base.generation, segment.end, segment.time_us, base.commits + segment.commits
    )


def plan_restore(
    archive: Archive, listing: Listing, executor: Executor, to_us: int | None = None
) -> RestorePlan:
    """Return the plan for the newest point, or the newest one not after ``to_us``.

    Raises:
        RestoreTargetError: the replica is empty, or begins later.
        ReplicaDamagedError: something that the plan needs is missing or damaged.
    """
    generation, base, damage = _choose(archive, listing, to_us)
    table, last, names = base.blocks, None, []
    try:
        for name, (segment, _) in zip(
            generation.chain(), archive.read_segments(generation.chain(), executor), strict=True
        ):
            if to_us is not None and segment.time_us > to_us:
                damage = None  # whatever it is, it comes later
                break
            table.apply(segment.changes)
            table.resize(max(len(table), segment.block_count))
            names.append(name)
            last = segment
        else:
            _check_gap(archive, generation)
    except (ReplicaDamagedError, BlobNotFoundError) as error:
        damage = error
    point = _segment_point(base, last) if last else _base_point(base)
    # Points are named by the millisecond. Between this one and the time asked for may be lost ones.
    if damage is not None and (to_us is None or to_us // 1000 > point.time_us // 1000):
        raise damage
    packs = {name: tuple(changes) for name, changes in table.blocks_by_pack().items()}
    missing = sorted(set(packs) - set(listing.packs))
    if missing:
        raise ReplicaDamagedError(
            f"{len(missing)} packs of generation {generation.name} are missing in {archive.url}, "
            f"the first of them {missing[0]}"
        )
    return RestorePlan(
        point=point,
        headers=base.headers,
        block_count=len(table),
        packs=packs,
        segments=tuple(names),
        log_sha256=last.log_sha256 if last else None,
        download_bytes=generation.size + sum(listing.packs[pack] for pack in packs),
    )


def _check_gap(archive: Archive, generation: GenerationListing) -> None:
    beyond = generation.after_gap()
    if beyond is not None:
        raise ReplicaDamagedError(f"a segment before {beyond.blob} in {archive.url} is missing")


def _choose(
    archive: Archive, listing: Listing, to_us: int | None
) -> tuple[GenerationListing, Base, DuckDBException | None]:
    """Return the generation that the point is in, and what is wrong with one that may come after it."""
    if not listing.generations:
        raise RestoreTargetError(
            f"there is nothing to restore in {archive.url}",
            hint="Check DUCKDB_REPLICA_URL; chronoduck restore --list shows what a replica holds.",
        )
    damage: DuckDBException | None = None
    begins = ""
    for generation in reversed(listing.generations):
        try:
            base = archive.read_base(generation.name)
        except (ReplicaDamagedError, BlobNotFoundError) as error:
            if to_us is None:
                raise
            damage = damage or error
            continue
        if to_us is None or base.time_us <= to_us:
            return generation, base, damage
        damage, begins = None, time_text(base.time_us)
    if damage is not None:
        raise damage
    raise RestoreTargetError(
        f"the replica in {archive.url} begins at {begins}, after the time asked for",
        hint="chronoduck restore --list shows the points in time.",
    )
