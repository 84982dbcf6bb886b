"""The replicator: ships what is new every interval, until the service stops it."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from chronoduck.engine.disk_format import read_header
from chronoduck.engine.proving import WalPosition
from chronoduck.errors import DuckDBException
from chronoduck.replication.archive import Archive
from chronoduck.replication.counting_store import CountingBlobStore
from chronoduck.replication.envelope import Envelope
from chronoduck.replication.failures import LeaseHeldError, ReplicaMismatchError
from chronoduck.replication.lease import Lease
from chronoduck.replication.lease_renewal import LeaseRenewal
from chronoduck.replication.local_state import LocalState
from chronoduck.replication.messages import ReplicaState, ReplicaStatus
from chronoduck.replication.proof_marks import ProofMarks
from chronoduck.replication.pruning import Pruner, PruningResult
from chronoduck.replication.retention import finish_plan
from chronoduck.replication.scrub import Scrubber
from chronoduck.replication.shipper import Shipper, Step
from chronoduck.replication.start_comparison import START_CALL_SECONDS, START_SECONDS
from chronoduck.replication.startup import check_local_state, note_losses, resume
from chronoduck.replication.state_keeper import ReplicaGoneError, StateKeeper, replica_gone
from chronoduck.replication.verification import note_lost_packs
from chronoduck.replication.watch import StoreScrubber, StoreWatch
from chronoduck.settings import Settings
from chronoduck.storage import StoreError, TimedBlobStore, open_store

__all__ = ["Replicator"]

_BUSY_SECONDS = 0.02
_MAX_BACKOFF_SECONDS = 30.0
_REFUSED_SECONDS = 3.0
"""How often a lease that another service holds is checked."""


class Replicator:
    """Joins shipper, lease, retention and scrub; runs in the replicator's process, in one thread."""

    def __init__(
        self, settings: Settings, executor: Executor, emit: Callable[[ReplicaStatus], None]
    ) -> None:
        replica = settings.replica
        assert replica.url is not None  # noqa: S101 - there is no replicator without
        key = replica.encryption_key
        self._settings = settings
        self._database = settings.database_path
        self._executor = executor
        self._emit = emit
        self._timed = TimedBlobStore(open_store(replica.url, settings), replica.timeout)
        self._store = CountingBlobStore(self._timed)
        self._archive = Archive(
            self._store,
            Envelope(key.get_secret_value() if key else None, level=replica.compression_level),
        )
        self._lease = Lease(self._store, self._database)
        self._shipper = Shipper(
            self._database,
            self._archive,
            executor,
            now_us=_now_us,
            on_progress=self._report_progress,
        )
        self._scrubber = Scrubber(
            self._database,
            lambda block, checksum: self._shipper.blocks.table.holds(block, checksum),
            bytes_per_second=replica.scrub_rate * 1e6,
        )
        self._replica_id = ""
        self._bytes_before = 0
        self._is_resumed = False
        self._failures = 0
        self._last_step: Step | None = None
        self._keeper = StateKeeper(self._database, self._archive.url)
        self._watch = StoreWatch(self._archive)
        self._marks = ProofMarks(self._archive)
        self._store_scrubber = StoreScrubber(
            self._archive,
            bytes_per_second=replica.store_scrub_rate * 1e6,
            is_ready=lambda: self._is_resumed and self.status.is_base_complete,
        )
        self._renewal = LeaseRenewal(
            self._lease,
            self._archive,
            replica_id=lambda: self._replica_id if self._is_resumed else "",
        )
        self._pruner = Pruner(self._archive, executor, replica)
        self.status = ReplicaStatus()

    # --- before the database is opened --------------------------------------------------------

    def prepare(
        self, *, adopt: bool = False, is_patient: bool = False, is_running: bool = False
    ) -> None:
        """Take the lease and compare the local files with the replica.

        A store that does not answer is no reason not to start: the files are then compared with what
        this machine noted of its replica, and with the replica itself once the store answers.
        ``is_patient``: wait for the store as long as any other call does. ``is_running``: do not wait
        for another holder of the lease, nor refuse because of one: it is watched by ``run``.

        Raises:
            LeaseHeldError: another service writes to the replica.
            ReplicaMismatchError: the local files lack commits that the replica holds.
        """
        limits = (None, None) if is_patient else (START_CALL_SECONDS, START_SECONDS)
        try:
            with self._timed.limited(limits[0]):
                self._find_replica(may_create=is_patient and adopt)
                if not is_running:
                    self._lease.wait()
            with self._timed.limited(*limits):
                self._resume(adopt, is_thorough=is_patient)
        except StoreError as error:
            check_local_state(self._database, self._archive.url, error)
            self._note_failure(error)
        except LeaseHeldError as error:
            if not is_running:
                raise
            self._note(ReplicaState.REFUSED, error)
        except DuckDBException:
            self.release()  # a start that is refused must not keep others from starting
            raise
        self._renewal.start()  # opening the database may take longer than the lease lasts

    def release(self) -> None:
        """Give the lease back, if it is held."""
        with (
            contextlib.suppress(StoreError, LeaseHeldError),  # it is free again 30 s from now
            self._timed.limited(START_CALL_SECONDS),
        ):
            self._lease.release()

    def _find_replica(self, *, may_create: bool = False) -> None:
        """Look whether the replica is where it was: a bare mount point must not become a new one.

        Raises:
            StoreError: this database was shipped there before, and nothing is there.
        """
        if self._replica_id:
            self._check_place()
        elif not may_create and self._keeper.had_replica():
            self._keeper.find(self._archive)

    def _resume(self, adopt: bool, *, is_thorough: bool = False) -> None:
        self._find_replica(may_create=adopt and is_thorough)
        self._lease.acquire()
        self._replica_id = self._archive.create()
        finish_plan(self._archive)
        if adopt and is_thorough:
            note_losses(self._archive)
            note_lost_packs(self._archive, self._executor)
        if LocalState.read(self._database) is None and self._archive.is_empty():
            self._keeper.begin(self._replica_id)
        found = resume(
            self._shipper,
            self._archive,
            self._database,
            self._executor,
            replica_id=self._replica_id,
            adopt=adopt,
            is_thorough=is_thorough,
        )
        self._is_resumed, self.status.is_gone = True, False
        listing = found.listing
        self.status.notice = found.notice or self.status.notice
        self._note_listing(listing.size)
        self.status.generations = len(listing.generations)
        self.status.commits = self._shipper.total_commits
        self.status.last_point_us = self._shipper.last_point_us

    # --- while it is open ---------------------------------------------------------------------

    def run(self, commands: queue.Queue[dict[str, Any]]) -> None:
        """Ship until the command "stop", which gives the seconds for shipping the rest."""
        if self._settings.replica.scrub_rate:
            self._scrubber.start()
        self._store_scrubber.start()
        wait = 0.0
        while True:
            try:
                command = commands.get(timeout=wait) if wait else commands.get_nowait()
            except queue.Empty:
                command = {"kind": "ship"}
            if command["kind"] == "stop":
                break
            if command["kind"] == "proof":
                until = WalPosition(int(command["iteration"]), int(command["offset"]))
                self._marks.note(command["level"], until)
                continue
            wait = self._work()
        self._renewal.stop()
        self._scrubber.stop()
        self._store_scrubber.stop()
        self._ship_rest(float(command["seconds"]), insists=command.get("insists", True))
        self._leave()

    def _work(self) -> float:
        """Do one step; return the seconds until the next one."""
        try:
            if self._renewal.take_loss():
                self._forget()  # the lease is free again when its holder gives no sign of life
            if not self._is_resumed:
                self._resume(adopt=False)
            began_us = _now_us()
            # Before the writes: another database's replica may be mounted there now. After them: what was
            # written to a place that is not the replica does not count.
            is_directory = "://" not in self._archive.url
            if is_directory:
                self._check_place()
            step = self._last_step = self._shipper.step()
            if self._renewal.is_gone or is_directory:
                self._check_place()
            self._repair()
            self._note_proofs()
        except StoreError as error:
            return self._note_failure(self._find_cause(error))
        except (LeaseHeldError, ReplicaMismatchError) as error:
            self._note(ReplicaState.REFUSED, error)
            return _REFUSED_SECONDS
        except DuckDBException as error:  # damaged headers, a record that cannot be read
            return self._note_failure(error)
        self._note_step(step, began_us)
        self._pruner.run_when_due(self._shipper, self._note_pruning)
        if step in (Step.IDLE, Step.WAITING):
            return self._settings.replica.interval
        return _BUSY_SECONDS if step is Step.BUSY else 0.0

    def _check_place(self) -> None:
        """Look whether the replica is where it is: a directory may have been unmounted.

        Raises:
            StoreError: it is not; once it is back, it is compared again, as at a start.
        """
        if self._archive.identity() == self._replica_id:
            self._renewal.is_gone = False
            return
        self._forget()
        raise replica_gone(self._archive.url)

    def _find_cause(self, error: StoreError) -> StoreError:
        """Return that the replica is gone, when that is why a call to the store failed."""
        if self._is_resumed and "://" not in self._archive.url:
            try:
                self._check_place()
            except StoreError as gone:
                return gone
        return error

    def _forget(self) -> None:
        """Have the files compared with the replica again before anything is shipped."""
        if self._is_resumed:
            self._is_resumed = False
            self._shipper.reset()

    def _repair(self) -> None:
        """Look whether the store has what was shipped; ship again what the newest point needs of it.

        A new generation then holds it. That nothing else is lost with the store is not sure: the
        notice stays until the next start.
        """
        generation = self._shipper.generation
        if generation is None:
            return
        problem = self._watch.look()
        found = self._store_scrubber.take()
        if not problem and not found and self._watch.is_compared(generation):
            return
        table = self._shipper.blocks.table
        packs = set(table.blocks_by_pack())
        found |= self._watch.compare(generation, packs)
        used = packs & found.keys()
        problems = [problem] * bool(problem) + list(found.values())
        if not problems:
            return
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        self.status.notice = f"{problems[0]}{more}"
        if problem or used or any(generation.name in name for name in found):
            table.forget_packs(used)
            self._archive.forget_newest()
            self._shipper.begin_again()
            self.status.notice += "; a new generation holds again what the newest point needs"

    def _note_proofs(self) -> None:
        generation = self._shipper.generation
        if generation is not None:
            self._marks.note_shipped(generation, self._shipper.last_point_us)
        self._marks.write()
        self.status.proven_us = self._marks.until_us("proven")
        self.status.replayed_us = max(self._marks.until_us("replayed"), self.status.proven_us)

    def _ship_rest(self, seconds: float, *, insists: bool) -> None:
        """Ship what is left. ``insists``: a store that fails is tried again until the time is over."""
        self._shipper.take_as_final()
        end = time.monotonic() + seconds
        with self._timed.limited(total_seconds=seconds):
            while time.monotonic() < end:
                self._last_step = None
                wait = self._work()
                if self._last_step is Step.IDLE or self.status.state is ReplicaState.REFUSED:
                    break
                if self.status.state is ReplicaState.FAILING and not insists:
                    break
                time.sleep(min(wait, 0.2))

    def _leave(self) -> None:
        self._pruner.stop()
        self.release()
        self.status.state = ReplicaState.STOPPED
        self._emit(self.status)
        self._shipper.close()

    # --- the status ---------------------------------------------------------------------------

    def _note_step(self, step: Step, began_us: int) -> None:
        shipper, status = self._shipper, self.status
        generation = shipper.generation
        status.error = status.hint = ""
        self._failures = 0
        status.commits, status.last_point_us = shipper.total_commits, shipper.last_point_us
        status.is_base_complete = generation is not None
        status.unshipped_bytes = shipper.unshipped_bytes
        if generation is not None:
            status.state = ReplicaState.FOLLOWING
            status.iteration = read_header(generation.headers).iteration
            if status.generation != generation.name:
                status.generation = generation.name
                status.generations += 1
        else:
            status.state = ReplicaState.SYNCING
        is_all = step is Step.IDLE or (step is Step.SHIPPED and not status.unshipped_bytes)
        if is_all and generation is not None:
            # What was committed while the step was under way may not be in it.
            status.caught_up_us = began_us
            status.progress_done = status.progress_total = 0
        if step is not Step.BUSY:
            self._note_counters()
            if generation is not None:
                self._keeper.note_shipped(
                    self._replica_id, generation, status.commits, status.last_point_us
                )
            self._emit(status)

    def _note_gone(self) -> None:
        """Tell that there is nothing to restore, until the replica is in its place again."""
        status = self.status
        status.is_gone = True
        status.generations = status.commits = status.last_point_us = 0
        status.proven_us = status.replayed_us = 0
        self._bytes_before = -status.shipped_bytes

    def _note_listing(self, size: int) -> None:
        """Take in how much the store holds; what is shipped from now on comes on top."""
        self._bytes_before = size - self.status.shipped_bytes
        self.status.store_bytes = size

    def _note_counters(self) -> None:
        status = self.status
        status.requests, status.failures = self._store.requests, self._store.failures
        status.shipped_bytes = self._shipper.shipped_bytes + self._shipper.blocks.shipped_bytes
        status.store_bytes = self._bytes_before + status.shipped_bytes
        status.scrubbed_us, status.scrub_share = self._scrubber.ended_us, self._scrubber.share
        status.damaged_blocks = len(self._scrubber.damaged)
        status.store_scrubbed_us = self._store_scrubber.ended_us
        status.store_scrub_share = self._store_scrubber.share

    def _note_failure(self, error: DuckDBException) -> float:
        self._failures += 1
        self._keeper.note_seen()
        self._note(ReplicaState.FAILING, error)
        return float(
            min(_MAX_BACKOFF_SECONDS, self._settings.replica.interval * 2 ** min(self._failures, 9))
        )

    def _note(self, state: ReplicaState, error: DuckDBException) -> None:
        self.status.state, self.status.error = state, error.detail
        self.status.hint = error.hint
        if isinstance(error, ReplicaGoneError):
            self._note_gone()
        self.status.unshipped_bytes = self._shipper.unshipped_bytes
        self._note_counters()
        self._emit(self.status)

    def _report_progress(self, done: int, total: int) -> None:
        self.status.progress_done, self.status.progress_total = done, total
        if not self.status.is_base_complete:
            self.status.state = ReplicaState.SYNCING
            self._emit(self.status)

    def _note_pruning(self, result: PruningResult) -> None:
        self.status.retention_error = result.error
        if not result.error:
            self._note_listing(result.listed_bytes)
            self.status.generations = result.generations


def _now_us() -> int:
    return time.time_ns() // 1000
