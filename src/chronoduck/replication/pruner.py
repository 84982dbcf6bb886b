"""Retention in the background: what is older than the settings keep is removed once an hour."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from chronoduck.errors import DuckDBException
from chronoduck.replication.archive import Archive
from chronoduck.replication.messages import ReplicaStatus
from chronoduck.replication.retention import apply_plan, plan_pruning, read_facts
from chronoduck.replication.shipper import Shipper
from chronoduck.settings.groups import ReplicaSettings

__all__ = ["Pruner"]

_PAUSE_SECONDS = 3600.0
_FIRST_SECONDS = 60.0


class Pruner:
    """Call it from the replicator's thread; the work runs in a thread of its own."""

    def __init__(
        self,
        archive: Archive,
        shipper: Shipper,
        settings: ReplicaSettings,
        executor: Executor,
        status: ReplicaStatus,
        note_size: Callable[[int], None],
    ) -> None:
        """``note_size`` gets the bytes that the store held before."""
        self._archive = archive
        self._shipper = shipper
        self._settings = settings
        self._executor = executor
        self._status = status
        self._note_size = note_size
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="retention")
        self._running: Future[None] | None = None
        self._next = time.monotonic() + _FIRST_SECONDS

    def run_when_due(self) -> None:
        """Begin a run if it is time and none is in progress."""
        if time.monotonic() >= self._next and (self._running is None or self._running.done()):
            self._next = time.monotonic() + _PAUSE_SECONDS
            in_use = frozenset(self._shipper.blocks.table.blocks_by_pack())
            self._running = self._thread.submit(self._prune, self._shipper.number, in_use)

    def stop(self) -> None:
        """Begin no further run; does not wait for the one in progress."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _prune(self, current: int, in_use: frozenset[str]) -> None:
        status, settings = self._status, self._settings
        try:
            listing = self._archive.listing()
            plan = plan_pruning(
                read_facts(self._archive, listing, self._executor),
                listing.packs,
                detail_us=int(settings.detail * 1e6),
                retention_us=int(settings.retention * 1e6),
                in_use=in_use,
                current=current,
                pending_steps_us=self._shipper.clock_step_us,
                fragments=[
                    blob
                    for each in listing.fragments
                    if each not in listing.headless()
                    for blob in each.blobs()
                ],
            )
            apply_plan(self._archive, plan)
        except DuckDBException as error:
            status.retention_error = error.detail
            return
        status.retention_error = ""
        self._note_size(listing.size)
        status.generations = len(listing.generations) - plan.generations
