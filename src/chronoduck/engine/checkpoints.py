"""Checkpoints: the service decides when one runs, and runs it.

DuckDB's own automatic checkpoint is off: it would happen inside some writer's commit, and a replica
could not distinguish the state it is copying from the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from chronoduck.engine.checkpoint_room import CheckpointRoom, LoggedRows, file_space, no_room
from chronoduck.engine.checkpoint_run import commit_nothing, prepare_checkpoint, run_checkpoint
from chronoduck.engine.checkpoint_urgency import LogState, Urgency, urgency
from chronoduck.engine.database import DuckDBInstance
from chronoduck.engine.healing import Healer, HealReason
from chronoduck.errors import DuckDBException, StatementTimeoutError, TransactionConflictError
from chronoduck.logs import get_logger
from chronoduck.resilience.write_gate import WriteGate, WritersBusyError
from chronoduck.sql.engine_errors import DamagedFileError, EngineFailure

__all__ = ["Checkpointer"]

_LOOK_SECONDS = 0.2
_RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 15.0)
_DDL_SECONDS = 1.0
"""How often one is tried of a WAL with DDL that an older reader blocks."""
_DDL_FAILED_SECONDS = 60.0
_DAMAGED_SECONDS = (15.0, 60.0, 300.0)
"""How long no checkpoint is tried after one that damage in the file has ended: it ends the instance."""
_SAY_SECONDS = 5.0
"""The same failure is logged so often at most."""
_REMEMBERED = 1000
_PATIENCE_SECONDS, _LONG_PATIENCE = 0.15, 2.0
"""How long writers wait for those before them to end, so that a checkpoint can be run."""
_IN_THE_WAY = (TransactionConflictError, WritersBusyError)
"""Why a checkpoint cannot run at this moment, although nothing is wrong."""
_BACK_SECONDS = 0.05
"""How often we look whether the engine has ended a checkpoint whose caller has left."""
_REOPEN_SECONDS = 60.0


class Checkpointer:
    """Runs checkpoints while the database is open. Writers wait while one runs, readers do not."""

    def __init__(
        self,
        instance: DuckDBInstance,
        healer: Healer,
        executor: Executor,
        gate: WriteGate,
        may_run: Callable[[], bool] = lambda: True,
        on_hang: Callable[[], None] = lambda: None,
        replay_seconds: Callable[[], float] = lambda: 0.0,
        holds_ddl: Callable[[], bool] = lambda: False,
        logged_rows: Callable[[], LoggedRows] = LoggedRows,
    ) -> None:
        """``gate`` is what writers pass; ``may_run`` returns whether a checkpoint may run now.

        ``on_hang`` is called when one has not ended within ``DUCKDB_CHECKPOINT_TIMEOUT``;
        ``replay_seconds`` estimates how long a start would replay the WAL as it is, and ``holds_ddl``
        returns whether it has more than plain changes of rows: most bugs of a replay need both, so that
        such a WAL is checkpointed as soon as no older reader is in the way. ``logged_rows``: of the WAL.
        """
        self._room = CheckpointRoom(instance, logged_rows)
        self.on_failure: Callable[[], None] = lambda: None  # a full volume may be why
        self._on_hang = on_hang
        self._hanging_since: float | None = None
        self._replay_seconds = replay_seconds
        self._holds_ddl = holds_ddl
        self._ddl_after = 0.0
        """When a WAL with DDL is tried again."""
        self._instance = instance
        self._healer = healer
        self._executor = executor
        self._gate = gate
        self._may_run = may_run
        self._limits = instance.settings.checkpoint
        self._known_log_bytes = 0
        self._log_path = instance.settings.database_path.with_name(
            instance.settings.database_path.name + ".wal"
        )
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self.running: set[asyncio.Task[float]] = set()
        """The one that holds the lock: the event loop keeps no reference of its own."""
        self._log = get_logger("engine")
        self._commits = 0
        self._first_commit_at: float | None = None
        self._failures = 0
        self._not_before = 0.0
        """No checkpoint before this time, as long as the file is damaged."""
        self._said: tuple[str, float] = ("", 0.0)
        self._nothing_for: tuple[int, int] | None = None
        """The instance's generation and the checkpoints before it when nothing was committed."""
        self._pauses: deque[float] = deque(maxlen=_REMEMBERED)
        self.count = 0
        self.last_at: float | None = None
        """``time.time()`` of the last one."""
        self.last_error = ""

    def start(self) -> None:
        """Begin to run checkpoints when they are due."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """End; a checkpoint that runs is waited for, unless it hangs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._hanging_since is not None or self._leaving:
            return
        async with self._lock:
            return

    @property
    def hanging_seconds(self) -> float | None:
        """For how long a checkpoint has been running that does not end; None: there is none."""
        since = self._hanging_since
        return None if since is None else round(time.monotonic() - since, 1)

    def note_commit(self) -> None:
        """Count a transaction that was written."""
        self._commits += 1
        if self._first_commit_at is None:
            self._first_commit_at = time.monotonic()

    def look(self) -> int:
        """Return how large the WAL is, and remember it for ``get_status``; blocks."""
        try:
            self._known_log_bytes = self._log_path.stat().st_size
        except OSError:
            self._known_log_bytes = 0
        return self._known_log_bytes

    def log_state(self) -> LogState:
        """Return how much there is to replay, and about how long that would take.

        For the time it reads what was committed since the last call: not on the event loop.
        """
        size = self.look()
        return LogState(
            size, self._commits, self._log_age(size), self._replay_seconds() if size else 0.0
        )

    def _log_age(self, size: int) -> float:
        if size and self._first_commit_at is None:
            self._first_commit_at = time.monotonic()
        began = self._first_commit_at
        return 0.0 if began is None else time.monotonic() - began

    async def _watch(self) -> None:
        while True:
            wait = _LOOK_SECONDS
            # The estimate reads what was committed since: 10 MB of rows take half a second.
            state = await asyncio.to_thread(self.log_state)
            if not state.size:
                self._forget_failures()  # reopening the file has checkpointed it
            need = urgency(state, self._limits)
            is_ready = not self._healer.is_healing and not self._waits_for_repair
            is_due = need is Urgency.OVERDUE or (need is Urgency.DUE and self._may_run())
            if is_ready and is_due:
                try:
                    await self.checkpoint()
                except DuckDBException:
                    wait = _RETRY_SECONDS[min(self._failures, len(_RETRY_SECONDS)) - 1]
            elif is_ready and state.size:
                await self._take_in_ddl()
            await asyncio.sleep(wait)

    async def _has_room(self, *, is_rescue: bool = False) -> bool:
        """Whether there is space for all that a checkpoint may write; noted for health if not."""
        has_room = await self._room.has_room(self.look, is_rescue=is_rescue)
        if not has_room:
            self._note_failure(no_room())
        return has_room

    async def _take_in_ddl(self) -> None:
        now = time.monotonic()
        if now < self._ddl_after or not self._holds_ddl():
            return
        try:
            await self.checkpoint_if_free()
        except DuckDBException:  # it ended the instance, perhaps: that is not repeated at once
            self._ddl_after = now + _DDL_FAILED_SECONDS
        else:
            self._ddl_after = now + _DDL_SECONDS

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Keep checkpoints off, while the file and its log are copied; transactions continue."""
        async with self._lock:
            yield

    @asynccontextmanager
    async def counted(self, timeout: float, is_busy: Callable[[], bool]) -> AsyncIterator[None]:
        """Enter a block that runs a CHECKPOINT of a user: alone like ours, and counted like ours.

        ``is_busy``: whether the engine still runs it. Its caller may leave before it has ended.

        Raises:
            StatementTimeoutError: the files were being copied all the time.
            TransactionConflictError: writers did not end in time.
            DiskFullError: it may not fit, and one that does not ends the instance.
        """
        if not await self._has_room():
            raise no_room()
        try:
            async with asyncio.timeout(timeout):
                await self._lock.acquire()
        except TimeoutError:
            raise StatementTimeoutError(
                "the database's files are being copied; the checkpoint waited for its end in vain",
                hint="GET jobs shows the copy. The service runs checkpoints by itself.",
            ) from None
        started = time.perf_counter()
        commits, self._commits = self._commits, 0
        first, self._first_commit_at = self._first_commit_at, None
        alone = AsyncExitStack()
        try:
            try:
                await alone.enter_async_context(self._gate.closed(min(timeout, _LONG_PATIENCE)))
            except WritersBusyError as error:  # what DuckDB says when one of them has begun
                raise TransactionConflictError(
                    "no checkpoint is possible now: a transaction that writes is open",
                    hint=error.hint,
                ) from error
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._executor, prepare_checkpoint, self._instance)
            yield
        except BaseException as error:
            self._commits += commits
            self._first_commit_at = first
            self.on_failure()
            if isinstance(error, DamagedFileError):
                self._note_failure(error)
            raise
        else:
            self._forget_failures()
            self._pauses.append(time.perf_counter() - started)
            self.count += 1
            self.last_at = time.time()
        finally:
            if is_busy():
                leaving = asyncio.get_running_loop().create_task(self._leave(alone, is_busy))
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)
            else:
                await self._leave(alone, is_busy)

    async def _leave(self, alone: AsyncExitStack, is_busy: Callable[[], bool]) -> None:
        """Let writers and other checkpoints in again, once the engine has ended this one."""
        try:
            while is_busy():  # noqa: ASYNC110 - its worker tells only the session
                await asyncio.sleep(_BACK_SECONDS)
        finally:
            await alone.aclose()
            self._lock.release()

    def _forget_failures(self) -> None:
        self._failures, self.last_error = 0, ""

    async def reclaim(self) -> None:
        """Have a file that a failed write let grow cut back.

        DuckDB keeps the blocks of a write that was rolled back until the file is opened again, and cuts
        free blocks off at a checkpoint only if there is something to checkpoint.

        Raises:
            DuckDBException: a checkpoint is not possible yet.
        """
        await self.checkpoint_something()
        loop = asyncio.get_running_loop()
        if (await loop.run_in_executor(self._executor, file_space, self._instance)).free_bytes:
            self._healer.reopen(self._instance.generation, HealReason.FILE_GROWN)
            if await self._healer.wait_until_open(_REOPEN_SECONDS):
                await self.checkpoint_something()

    async def checkpoint_something(self, *, is_rescue: bool = False) -> None:
        """Run a checkpoint that writes a new header, also when DuckDB knows of nothing to write.

        DuckDB does nothing at a CHECKPOINT when it has committed nothing since the last one.

        Raises:
            DuckDBException: As ``checkpoint`` does.
        """
        self._refuse_damaged()
        now = (self._instance.generation, self.count)
        if now != self._nothing_for:  # else each attempt would make the WAL longer
            await asyncio.to_thread(commit_nothing, self._instance)
            self._nothing_for = now
        await self.checkpoint(is_rescue=is_rescue)

    async def checkpoint_if_free(self) -> bool:
        """Run one at once if the replica is ready for it and no transaction is in its way.

        Raises:
            EngineFailure: the instance failed; it is being reopened.
        """
        if not self._may_run() or self._lock.locked() or self._waits_for_repair:
            return False
        if not await self._has_room():
            return False
        try:
            await self._run(waits=False)
        except _IN_THE_WAY:
            return False
        return True

    async def checkpoint(self, *, is_rescue: bool = False) -> float:
        """Run a checkpoint; return the seconds that writers may have waited.

        ``is_rescue``: no start could replay the WAL, so that one which may not fit is tried as well.

        Raises:
            EngineFailure: the instance failed; it is being reopened, and nothing is lost.
            DuckDBException: it may not fit, or DuckDB refused; the WAL stays as it is.
        """
        self._refuse_damaged()
        if not await self._has_room(is_rescue=is_rescue):
            raise no_room()
        return await self._run(waits=True)

    async def _run(self, *, waits: bool) -> float:
        # Without ``waits`` a transaction that is in its way ends the attempt, which counts for nothing.
        await self._lock.acquire()
        # DuckDB continues when the caller is cancelled: the lock is held to the end in any case.
        running = asyncio.get_running_loop().create_task(self._run_locked(waits=waits))
        self.running.add(running)
        running.add_done_callback(self._note_end)
        return await asyncio.shield(running)

    def _note_end(self, running: asyncio.Task[float]) -> None:
        self.running.discard(running)
        self._lock.release()
        if not running.cancelled():
            running.exception()  # the caller may have left

    async def _run_locked(self, *, waits: bool) -> float:
        generation = self._instance.generation
        commits, self._commits = self._commits, 0
        first, self._first_commit_at = self._first_commit_at, None
        try:
            seconds = await self._run_alone(
                await asyncio.to_thread(self._patience) if waits else 0.0
            )
        except DuckDBException as error:
            self._commits += commits
            self._first_commit_at = first
            if not waits and isinstance(error, _IN_THE_WAY):
                raise
            self._note_failure(error)
            if isinstance(error, EngineFailure) and error.is_fatal:
                self._healer.start(generation, HealReason.FATAL, error.operator_detail)
            raise
        self._forget_failures()
        self._pauses.append(seconds)
        self.count += 1
        self.last_at = time.time()
        self._log.debug("checkpoint", seconds=round(seconds, 4), commits=commits)
        return seconds

    def _note_failure(self, error: DuckDBException) -> None:
        self._failures += 1
        self.last_error = error.detail
        self.on_failure()
        now = time.monotonic()
        if isinstance(error, DamagedFileError):
            wait = _DAMAGED_SECONDS[min(self._failures, len(_DAMAGED_SECONDS)) - 1]
            self._not_before = now + wait
        said, at = self._said
        if error.operator_detail != said or now - at > _SAY_SECONDS:
            self._said = (error.operator_detail, now)
            self._log.warning(
                "checkpoint_failed", error=error.operator_detail, failures=self._failures
            )

    @property
    def _waits_for_repair(self) -> bool:
        """Whether a checkpoint would only meet the damage again, and end the instance."""
        return bool(self._instance.damage.found) and time.monotonic() < self._not_before

    def _refuse_damaged(self) -> None:
        if self._waits_for_repair:
            damage = self._instance.damage.found
            left = self._not_before - time.monotonic()
            raise DamagedFileError(
                f"no checkpoint is run on a damaged file; the next one is tried in {left:.0f} s",
                operator_detail=f"no checkpoint for {left:.0f} s, because {damage}",
                is_fatal=False,
            )

    async def _run_alone(self, patience: float) -> float:
        """Run it while no writer is inside; see engine/checkpoint_run.py.

        Writers that are inside are given a short time to end before the others are let in again: one
        long transaction blocks no other writer, and the checkpoint runs after it.
        """
        loop, started = asyncio.get_running_loop(), time.monotonic()
        async with self._gate.closed(patience):
            running = loop.run_in_executor(self._executor, run_checkpoint, self._instance)
            await asyncio.wait({running}, timeout=self._limits.timeout)
            if not running.done():
                self._hanging_since = started
                running.add_done_callback(self._note_end_of_hang)
                self._on_hang()
            await running
        return time.monotonic() - started

    def _patience(self) -> float:
        is_overdue = urgency(self.log_state(), self._limits) is Urgency.OVERDUE
        return _LONG_PATIENCE if is_overdue else _PATIENCE_SECONDS

    def _note_end_of_hang(self, running: asyncio.Future[None]) -> None:
        self._hanging_since = None

    def get_status(self) -> dict[str, Any]:
        """Return counters, pauses of writers in seconds, and how large the WAL was at the last look."""
        pauses = sorted(self._pauses)
        log_age = self._log_age(self._known_log_bytes)
        last = None if self.last_at is None else datetime.fromtimestamp(self.last_at, UTC)
        return {
            "count": self.count,
            "last_at": last and last.isoformat(timespec="milliseconds"),
            "last_error": self.last_error,
            "hanging_seconds": self.hanging_seconds,
            "pause_p50": _quantile(pauses, 0.5),
            "pause_p99": _quantile(pauses, 0.99),
            "pause_max": round(pauses[-1], 4) if pauses else None,
            "log_bytes": self._known_log_bytes,
            "log_commits": self._commits,
            "next_after": {
                "log_bytes": self._limits.log_size,
                "commits": self._limits.commits,
                "seconds": round(max(0.0, self._limits.interval - log_age), 1)
                if self._known_log_bytes
                else None,
            },
        }


def _quantile(ordered: list[float], share: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 4) if ordered else None
