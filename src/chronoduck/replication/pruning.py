"""When retention runs: beside the shipping, in a thread of its own, at a pace that fits its windows."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass

from chronoduck.errors import DuckDBException
from chronoduck.replication.archive import Archive
from chronoduck.replication.retention import apply_plan, plan_pruning, read_facts
from chronoduck.replication.shipper import Shipper
from chronoduck.settings import ReplicaSettings

__all__ = ["Pruner", "PruningResult"]

_MOST_SECONDS = 3600.0
_LEAST_SECONDS = 1.0
_WINDOW_SHARE = 0.1
"""Of the window of details: what has left it stays so much longer."""
_FIRST_SECONDS = 60.0
_FIRST_PAUSES = 5.0
"""A start waits for so many pauses, but not longer than ``_FIRST_SECONDS``."""


@dataclass(frozen=True)
class PruningResult:
    """What a run came to."""

    error: str
    """Empty when it went well; the other fields count only then."""
    listed_bytes: int = 0
    """Of the store, before anything was deleted."""
    generations: int = 0
    """How many are left."""


class Pruner:
    """Deletes what no restore inside the windows needs. Use from the replicator's thread."""

    def __init__(self, archive: Archive, executor: Executor, settings: ReplicaSettings) -> None:
        self._archive = archive
        self._executor = executor
        self._detail_us = int(settings.detail * 1e6)
        self._retention_us = int(settings.retention * 1e6)
        pause = max(_LEAST_SECONDS, settings.detail * _WINDOW_SHARE)
        self._pause = min(_MOST_SECONDS, pause)
        self._background = ThreadPoolExecutor(1, thread_name_prefix="retention")
        self._running: Future[None] | None = None
        self._next = time.monotonic() + min(_FIRST_SECONDS, _FIRST_PAUSES * self._pause)

    def run_when_due(self, shipper: Shipper, on_end: Callable[[PruningResult], None]) -> None:
        """Begin a run if it is time for one; ``on_end`` is called in another thread."""
        if time.monotonic() < self._next or not (self._running is None or self._running.done()):
            return
        self._next = time.monotonic() + self._pause
        in_use = frozenset(shipper.blocks.table.blocks_by_pack())
        number, steps_us = shipper.number, shipper.clock_step_us
        self._running = self._background.submit(
            lambda: on_end(self.prune(number, in_use, steps_us))
        )

    def stop(self) -> None:
        """End; a run under way is not waited for."""
        self._background.shutdown(wait=False, cancel_futures=True)

    def prune(self, current: int, in_use: frozenset[str], steps_us: int) -> PruningResult:
        """Run now. Keep all packs of generation ``current`` and those ``in_use``."""
        try:
            listing = self._archive.listing()
            plan = plan_pruning(
                read_facts(self._archive, listing, self._executor),
                listing.packs,
                detail_us=self._detail_us,
                retention_us=self._retention_us,
                in_use=in_use,
                current=current,
                pending_steps_us=steps_us,
                fragments=[
                    blob
                    for each in listing.fragments
                    if each not in listing.headless()
                    for blob in each.blobs()
                ],
            )
            apply_plan(self._archive, plan)
        except DuckDBException as error:
            return PruningResult(error.detail)
        return PruningResult("", listing.size, len(listing.generations) - plan.generations)
