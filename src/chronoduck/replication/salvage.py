"""The newest point of a damaged replica that can be restored all the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import Executor

from chronoduck.replication.archive import Archive
from chronoduck.replication.failures import ReplicaDamagedError
from chronoduck.replication.history import GenerationListing
from chronoduck.replication.verification import check_pack
from chronoduck.storage import BlobNotFoundError

__all__ = ["find_newest_whole_point"]

Progress = Callable[[str, int, int], None]


def find_newest_whole_point(
    archive: Archive,
    executor: Executor,
    on_progress: Progress = lambda what, done, total: None,
) -> int | None:
    """Return the time (us) of the newest point of which every blob is whole; None when there is none.

    Reads what the points need, newest generation first: in the worst case the whole replica.

    Raises:
        StoreError: the store failed.
    """
    packs = _Packs(archive, executor)
    generations = archive.listing().generations
    for done, generation in enumerate(reversed(generations)):
        on_progress("looking for a whole point", done, len(generations))
        time_us = _last_whole(archive, generation, packs)
        if time_us is not None:
            return time_us
    return None


class _Packs:
    """Knows which packs are whole; reads each once."""

    def __init__(self, archive: Archive, executor: Executor) -> None:
        self._archive, self._executor = archive, executor
        self._is_whole: dict[str, bool] = {}

    def are_whole(self, names: Iterable[str]) -> bool:
        needed = set(names)
        unread = sorted(needed - set(self._is_whole))
        failures = self._executor.map(lambda name: check_pack(self._archive, name), unread)
        for name, failure in zip(unread, failures, strict=True):
            self._is_whole[name] = not failure
        return all(self._is_whole[name] for name in needed)


def _last_whole(archive: Archive, generation: GenerationListing, packs: _Packs) -> int | None:
    """Return the time of a generation's last point before its first damage, None when there is none."""
    time_us: int | None = None
    digest = hashlib.sha256()
    try:
        base = archive.read_base(generation.name)
        if not packs.are_whole(base.blocks.blocks_by_pack()):
            return None
        time_us = base.time_us
        for name in generation.chain():
            segment, log = archive.read_segment(name)
            digest.update(log)
            if digest.hexdigest() != segment.log_sha256:
                break
            if not packs.are_whole(change.pack for change in segment.changes):
                break
            time_us = segment.time_us
    except (ReplicaDamagedError, BlobNotFoundError):
        pass  # what was read before is whole
    return time_us
