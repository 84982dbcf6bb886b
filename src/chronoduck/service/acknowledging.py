"""The step between a commit and its 200: a proof, where a start might not survive the WAL.

DuckDB's replay has unknown bugs. The entries of a transaction in the WAL decide whether it needs
a proof: any entry but plain changes of rows does, and so do rows that went past the WAL into
a table with an index. Nothing whose bytes may lie behind such a transaction is acknowledged before
the proof, so that the bytes from there on could be cut off without losing anything acknowledged.

A checkpoint is the quickest proof: what it took into the file is never replayed. It takes some
milliseconds, but DuckDB refuses it beside older readers and other writers, and a replica may not be
ready for it. Then a prover replays the WAL on a copy.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from chronoduck.engine.commits import Commits
from chronoduck.engine.proving import Absence, Proof, Prover, Verdict
from chronoduck.engine.wal_watch import Suspect, WalWatch
from chronoduck.errors import DuckDBException, WriteOutcomeUnknownError
from chronoduck.logs import get_logger
from chronoduck.resilience.write_gate import WriteGate
from chronoduck.service.write_pass import WritePass

__all__ = ["AckBarrier", "Acknowledgement", "Checkpoints"]

_LONG_REPLAY_SECONDS = 0.25
"""From which on a checkpoint before DDL makes its proof quicker."""
_SHORTENING_SECONDS = 2.0
_PROOF_SHARE = 0.6
"""Of the wait; the rest is for a checkpoint in its place."""
_FALLBACK_SECONDS = 1.0
"""How long a write waits for a checkpoint if no prover works: a copy of the files may block it."""
_GATE_SECONDS = 1.0
"""How long a worker waits for the event loop to close the gate. The barrier holds without it."""


class Checkpoints(Protocol):
    """Runs checkpoints."""

    def checkpoint(self, *, is_rescue: bool = False) -> Awaitable[float]: ...
    def checkpoint_if_free(self) -> Awaitable[bool]: ...
    def held(self) -> AbstractAsyncContextManager[None]: ...


class AckBarrier:
    """Has writes wait for proofs; all that wait share one. Use from the event loop but for ``look``."""

    def __init__(
        self,
        watch: WalWatch,
        gate: WriteGate,
        checkpoints: Checkpoints,
        timeout: float,
        prover: Prover | None = None,
    ) -> None:
        """``timeout``: seconds after which the outcome of a write counts as unknown.

        Without a prover, or while it is off (by its setting, or for want of space), a checkpoint takes
        the place of the proof. Where an older reader blocks that too, the write is acknowledged without
        either, which is counted. A prover that stops with the service is no such excuse.
        """
        self.watch = watch
        self.gate = gate
        self._checkpoints = checkpoints
        self.timeout = timeout
        self.prover = prover
        self._proving: asyncio.Task[str] | None = None
        self._log = get_logger("engine")
        self.proofs = self.checkpoints = self.unproven = self.unknown = 0
        """Waits ended by a proof, by a checkpoint, by neither; writes whose outcome is unknown."""
        self.waiting = 0
        """Writes that wait now."""
        self.wait_seconds = 0.0
        """How long all writes have waited, together."""

    def look(self) -> Suspect | None:
        """Return what has to be proven before a write that was just committed is acknowledged."""
        return self.watch.look()

    async def shorten(self) -> None:
        """Checkpoint before DDL if its proof would take long, unless an older reader blocks it."""
        if self.watch.replay_seconds > _LONG_REPLAY_SECONDS:
            await self._within(_SHORTENING_SECONDS, self._checkpoints.checkpoint_if_free())

    async def settle(self, suspect: Suspect) -> None:
        """Return once nothing up to ``suspect`` needs a proof any more.

        Raises:
            WriteOutcomeUnknownError: it was refuted, or not proven in time.
        """
        started = time.monotonic()
        self.waiting += 1
        try:
            await self._settle(suspect, started + self.timeout)
        finally:
            self.waiting -= 1
            self.wait_seconds += time.monotonic() - started

    async def _settle(self, suspect: Suspect, end: float) -> None:
        why = "it was not proven in time"
        while not suspect.is_settled:
            left = end - time.monotonic()
            if left <= 0:
                break
            if self._proving is None or self._proving.done():
                self._proving = asyncio.create_task(self._prove(suspect, left))
            task = self._proving
            await asyncio.wait({task}, timeout=left)
            if task.done() and (failure := _failure_of(task)) and not suspect.is_settled:
                why = failure
                break
        if not suspect.is_settled:
            self.unknown += 1
            raise WriteOutcomeUnknownError(
                f"the write is in the WAL, but whether a start would survive it is not known: {why}",
                hint="Look at GET health, and whether it was applied, before you send it again.",
            )

    async def _prove(self, suspect: Suspect, seconds: float) -> str:
        """Have it proven, or checkpoint; return why not, if waiting longer is useless."""
        end = time.monotonic() + seconds
        await self._within(seconds * _PROOF_SHARE, self._checkpoints.checkpoint_if_free())
        newest = await asyncio.to_thread(self.watch.look)
        if suspect.is_settled:
            self.checkpoints += 1
            return ""
        left = end - time.monotonic()
        if left <= 0:
            return ""  # who waits has given up
        # One proof serves all who have committed by now; if it fails by another's, one's own counts.
        last = suspect if newest is None or newest.wal is not suspect.wal else newest
        proof = await self._ask(last, left * _PROOF_SHARE)
        if proof is not None and proof.verdict is Verdict.REFUTED and last.end > suspect.end:
            last, left = suspect, max(0.0, end - time.monotonic())
            proof = await self._ask(last, left * _PROOF_SHARE)
        if suspect.is_settled:
            return ""
        if proof is not None and proof.verdict is Verdict.PROVEN:
            await asyncio.to_thread(self.watch.settle, last)
            self.proofs += 1
            return ""
        left = max(0.0, end - time.monotonic())
        is_refuted = proof is not None and proof.verdict is Verdict.REFUTED
        if proof is None or proof.absence is Absence.OFF:
            left = min(left * _PROOF_SHARE, _FALLBACK_SECONDS)
        failure = await self._within(left, self._checkpoints.checkpoint(is_rescue=is_refuted))
        await asyncio.to_thread(self.watch.look)
        if suspect.is_settled:
            self.checkpoints += 1
            return ""
        if proof is None or proof.absence is Absence.OFF:
            self.watch.settle(suspect)
            self.unproven += 1
            self._log.warning(
                "acknowledged_without_proof", reason=proof.reason if proof else "", error=failure
            )
            return ""
        if proof.verdict is Verdict.REFUTED:
            return f"{proof.reason}; and a checkpoint failed: {failure}"
        if proof.absence is Absence.STOPPING:
            return f"{proof.reason}; and a checkpoint failed: {failure}"
        return ""

    async def _ask(self, suspect: Suspect, seconds: float) -> Proof | None:
        """Return the prover's answer; None without a prover, or when nothing is left to prove."""
        # In a thread: another may be reading megabytes of the WAL under the watch's lock.
        position = await asyncio.to_thread(self.watch.position, suspect)
        if position is None:  # commits beside a checkpoint belong to the next WAL
            async with self._checkpoints.held():
                await asyncio.to_thread(self.watch.look)
            position = await asyncio.to_thread(self.watch.position, suspect)
        if position is None or suspect.is_settled or self.prover is None:
            return None
        return await self.prover.prove(position, seconds)

    async def _within(self, seconds: float, checkpoint: Awaitable[Any]) -> str:
        """Wait for a checkpoint, which nothing can interrupt; return what kept it from its end."""
        running: asyncio.Future[Any] = asyncio.ensure_future(checkpoint)
        done, _ = await asyncio.wait({running}, timeout=seconds)
        if not done:
            running.add_done_callback(_forget)
            return f"it has not ended after {seconds:.1f} s"
        error = running.exception()
        if error is not None and not isinstance(error, DuckDBException):
            raise error
        return "" if error is None else error.detail

    def get_status(self) -> dict[str, int | float]:
        """Return the counters."""
        return {
            "waiting": self.waiting,
            "proofs": self.proofs,
            "checkpoints": self.checkpoints,
            "unproven": self.unproven,
            "unknown": self.unknown,
            "wait_seconds": round(self.wait_seconds, 3),
        }


def _failure_of(task: asyncio.Task[str]) -> str:
    error = None if task.cancelled() else task.exception()
    return task.result() if error is None else f"{type(error).__name__}: {error}"


def _forget(running: asyncio.Future[Any]) -> None:
    if not running.cancelled():
        running.exception()


class Acknowledgement:
    """One session's commits, and their way to the 200."""

    def __init__(
        self,
        barrier: AckBarrier,
        write_pass: WritePass,
        measure: Callable[[DuckDBException], DuckDBException],
        around_catalog_commit: Callable[[], None] = lambda: None,
    ) -> None:
        """``measure``, ``around_catalog_commit``: see ``Commits``."""
        self._barrier = barrier
        self._write_pass = write_pass
        self._loop = asyncio.get_running_loop()
        self._let_in: Callable[[], None] | None = None
        self._suspect: Suspect | None = None
        self._unread: OSError | None = None
        self.commits = Commits(self._close_gate, measure, around_catalog_commit)
        """What the session has committed, or may have."""

    def _close_gate(self) -> None:
        """Let no other writer begin; called in a worker thread right before a COMMIT of DDL."""
        closed = threading.Event()

        def close() -> None:
            self._hold_gate()
            self._write_pass.note_commit()
            closed.set()

        self._loop.call_soon_threadsafe(close)
        closed.wait(_GATE_SECONDS)

    def _hold_gate(self) -> None:
        if self._let_in is None:
            self._let_in = self._barrier.gate.hold()

    def look(self) -> None:
        """Read what the session's commits left in the WAL; called in the worker thread."""
        if not self.commits.awaits_answer:
            return
        try:
            self._suspect = self._barrier.look()
        except OSError as error:
            self._unread = error

    async def settle(self) -> None:
        """Return when what was committed may be acknowledged.

        Raises:
            WriteOutcomeUnknownError: it may not.
        """
        if not self.commits.awaits_answer:
            return
        self.commits.awaits_answer = False
        suspect, unread = self._suspect, self._unread
        try:
            if unread is not None:
                raise WriteOutcomeUnknownError(
                    "the write was committed, but the WAL cannot be read",
                    operator_detail=str(unread),
                )
            if suspect is not None:
                self._hold_gate()
                # It has written all: a checkpoint must not wait for it to leave.
                self._write_pass.leave()
                await self._barrier.settle(suspect)
        finally:
            self.release()

    def release(self) -> None:
        """Let other writers in again. Idempotent."""
        let_in, self._let_in, self._suspect = self._let_in, None, None
        if let_in is not None:
            let_in()
