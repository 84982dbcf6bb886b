"""Is everything in a replica what was shipped? Read blob by blob, oldest generation first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field
from itertools import pairwise

from chronoduck.replication.archive import Archive
from chronoduck.replication.failures import ReplicaDamagedError
from chronoduck.replication.history import GenerationListing, Listing
from chronoduck.replication.records import generation_number
from chronoduck.replication.removals import Removals
from chronoduck.storage import BlobNotFoundError
from chronoduck.units import format_count

__all__ = ["ReplicaVerification", "check_pack", "note_lost_packs", "verify_replica"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ReplicaVerification:
    """What was read, and what is wrong with it."""

    generations: int
    packs: int
    bytes: int
    damages: tuple[str, ...]
    """One sentence for each damaged or missing blob."""
    damaged_generations: tuple[str, ...]
    """Points in time of these cannot be restored, or not to their end."""
    newest: str = ""
    """The newest generation."""
    noted: tuple[str, ...] = ()
    """One sentence for each loss that an operator has taken note of: points that need it are lost."""

    @property
    def is_newest_whole(self) -> bool:
        """Whether everything that the replica held last can be restored."""
        return bool(self.newest) and self.newest not in self.damaged_generations


def verify_replica(
    archive: Archive,
    executor: Executor,
    on_progress: Progress = lambda what, done, total: None,
) -> ReplicaVerification:
    """Read every blob, compare its hashes, and follow every generation to its end.

    Blobs that retention deletes meanwhile are no damage: what is read is the listing of the end.

    Raises:
        StoreError: the store failed.
        SettingsError: the replica is encrypted, and the key is not set.
    """
    listing = archive.listing()
    bad_packs = _read_packs(archive, list(listing.packs), executor, on_progress)
    damages: dict[str, str] = {}
    noted: dict[str, str] = {}
    damaged_generations = []
    followed = []
    for done, generation in enumerate(listing.generations):
        on_progress("following generations", done, len(listing.generations))
        followed.append(_follow(archive, generation, executor))
    pairs = list(zip(listing.generations, followed, strict=True))
    for (generation, found), (following, next_) in pairwise(pairs):
        found.failure = found.failure or _missing_end(generation, found, following, next_)
    missing_generations = _missing_generations(archive, listing, pairs)
    damages |= missing_generations
    for generation, found in pairs:
        missing = sorted(archive.unlisted(found.packs, listing))
        if found.failure:
            damages[generation.name] = found.failure
        news = [pack for pack in missing if pack not in listing.removals.lost_packs]
        for pack in missing:
            known = damages if pack in news else noted
            known[pack] = f"{pack} is missing; generation {generation.name} needs it"
        if found.failure or news or found.packs & set(bad_packs):
            damaged_generations.append(generation.name)
    damages |= bad_packs
    if damages:  # a blob that retention has deleted since was not needed any more
        now = archive.listing()
        names = set(now.packs) | {each.name for each in now.generations}
        deleted = {
            name
            for name in missing_generations
            if generation_number(name) in now.removals.retention
        }
        damages = {
            name: text
            for name, text in damages.items()
            if name in names or (name not in listing.packs and name not in deleted)
        }
        damaged_generations = [name for name in damaged_generations if name in names]
    return ReplicaVerification(
        len(listing.generations),
        len(listing.packs),
        listing.size,
        tuple(damages.values()) if damaged_generations or damages else (),
        tuple(damaged_generations),
        listing.generations[-1].name if listing.generations else "",
        tuple(noted.values()),
    )


def note_lost_packs(archive: Archive, executor: Executor) -> None:
    """Record that an operator has taken note of the packs that the store lost."""
    listing = archive.listing()
    packs: set[str] = set()
    for generation in listing.generations:
        packs |= _follow(archive, generation, executor).packs
    lost = archive.unlisted(packs, listing)
    if lost:
        archive.note_removals(Removals(lost_packs=frozenset(lost)))


def _read_packs(
    archive: Archive, names: list[str], executor: Executor, on_progress: Progress
) -> dict[str, str]:
    """Return what is wrong with packs, by name."""
    bad: dict[str, str] = {}
    tasks = {executor.submit(check_pack, archive, name): name for name in names}
    try:
        for done, task in enumerate(as_completed(tasks), start=1):
            failure = task.result()
            if failure:
                bad[tasks[task]] = failure
            on_progress("reading packs", done, len(names))
    finally:
        for task in tasks:
            task.cancel()
    return bad


def check_pack(archive: Archive, name: str) -> str:
    """Return what is wrong with a pack, nothing when it is whole."""
    try:
        archive.read_pack(name)
    except (ReplicaDamagedError, BlobNotFoundError) as error:
        return error.detail
    return ""


@dataclass
class _Followed:
    """A generation, read from its base to its end."""

    packs: set[str] = field(default_factory=set)
    """What it needs, as far as it could be read."""
    first_commits: int = 0
    last_commits: int = 0
    previous: str | None = None
    failure: str = ""


def _follow(archive: Archive, generation: GenerationListing, executor: Executor) -> _Followed:
    found = _Followed()
    digest = hashlib.sha256()
    try:
        base = archive.read_base(generation.name)
        found.packs |= set(base.blocks.blocks_by_pack())
        found.previous = base.previous
        found.first_commits = found.last_commits = base.commits
        for segment, log in archive.read_segments(generation.chain(), executor):
            digest.update(log)
            if digest.hexdigest() != segment.log_sha256:
                found.failure = f"{segment.name} does not continue the log that was shipped"
                return found
            found.packs |= {change.pack for change in segment.changes}
            found.last_commits = base.commits + segment.commits
    except (ReplicaDamagedError, BlobNotFoundError) as error:
        found.failure = error.detail
    else:
        beyond = generation.after_gap()
        if beyond is not None:
            found.failure = f"a segment before {beyond.blob} is missing"
    return found


def _missing_generations(
    archive: Archive, listing: Listing, pairs: Sequence[tuple[GenerationListing, _Followed]]
) -> dict[str, str]:
    """Return what is wrong with generations of which the base is not there, by name.

    A loss that an operator has taken note of is no news.
    """
    missing = {
        each.name: f"generation {each.name} has no base: its "
        f"{format_count(len(each.segments), 'point')} in time cannot be restored"
        for each in listing.headless()
    }
    for generation, found in pairs:
        name = archive.missing_before(listing, generation.name, found.previous)
        if name and not listing.removals.explains(generation_number(name)):
            missing.setdefault(
                name, f"generation {name} is missing; {generation.name} continued it"
            )
    return missing


def _missing_end(
    generation: GenerationListing, found: _Followed, following: GenerationListing, next_: _Followed
) -> str:
    """Say that a generation once had more segments: the next one begins with more transactions.

    Only of neighbours, for retention deletes whole generations.
    """
    lost = next_.first_commits - found.last_commits
    follows = (
        following.number == generation.number + 1
        if next_.previous is None
        else next_.previous == generation.name
    )
    if found.failure or next_.failure or lost <= 0 or not follows:
        return ""
    return (
        f"the last segments of generation {generation.name} are missing: "
        f"{format_count(lost, 'transaction')}"
    )
