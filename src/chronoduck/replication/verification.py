"""Is everything in a replica what was shipped? Read blob by blob, oldest generation first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass

from chronoduck.replication.archive import Archive
from chronoduck.replication.failures import ReplicaDamagedError
from chronoduck.replication.history import GenerationListing
from chronoduck.storage import BlobNotFoundError

__all__ = ["ReplicaVerification", "verify_replica"]

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
    damaged_generations = []
    known = set(listing.packs)
    for done, generation in enumerate(listing.generations):
        on_progress("following generations", done, len(listing.generations))
        needed, failure = _follow(archive, generation, executor)
        missing = [pack for pack in sorted(needed) if pack not in known]
        if failure:
            damages[generation.name] = failure
        for pack in missing:
            damages[pack] = f"{pack} is missing; generation {generation.name} needs it"
        if failure or missing or needed & set(bad_packs):
            damaged_generations.append(generation.name)
    damages |= bad_packs
    if damages:  # a blob that retention has deleted since was not needed any more
        now = archive.listing()
        names = set(now.packs) | {each.name for each in now.generations}
        damages = {
            name: text for name, text in damages.items() if name in names or name not in known
        }
        damaged_generations = [name for name in damaged_generations if name in names]
    return ReplicaVerification(
        len(listing.generations),
        len(listing.packs),
        listing.size,
        tuple(damages.values()) if damaged_generations or damages else (),
        tuple(damaged_generations),
    )


def _read_packs(
    archive: Archive, names: list[str], executor: Executor, on_progress: Progress
) -> dict[str, str]:
    """Return what is wrong with packs, by name."""
    bad: dict[str, str] = {}
    tasks = {executor.submit(_check_pack, archive, name): name for name in names}
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


def _check_pack(archive: Archive, name: str) -> str:
    try:
        archive.read_pack(name)
    except (ReplicaDamagedError, BlobNotFoundError) as error:
        return error.detail
    return ""


def _follow(
    archive: Archive, generation: GenerationListing, executor: Executor
) -> tuple[set[str], str]:
    """Return the packs that a generation needs, and what is wrong with it."""
    digest = hashlib.sha256()
    needed: set[str] = set()
    try:
        needed |= set(archive.read_base(generation.name).blocks.blocks_by_pack())
        for segment, log in archive.read_segments(generation.chain(), executor):
            digest.update(log)
            if digest.hexdigest() != segment.log_sha256:
                return needed, f"{segment.name} does not continue the log that was shipped"
            needed |= {change.pack for change in segment.changes}
    except (ReplicaDamagedError, BlobNotFoundError) as error:
        return needed, error.detail
    return needed, ""
