"""One statement's (or transaction's) stay in the engine: place, connection, deadline, clean-up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from chronoduck.engine.cancellation import CancelReason, CancelToken
from chronoduck.engine.database import Connection
from chronoduck.engine.healing import HealReason
from chronoduck.engine.pool import PooledConnection
from chronoduck.engine.scopes.registry import NarrowedConnection
from chronoduck.errors import (
    BatchError,
    DuckDBException,
    EngineRestartedError,
    StatementTimeoutError,
    WriteOutcomeUnknownError,
)
from chronoduck.principals import Limits, Role
from chronoduck.service.accounts import Account
from chronoduck.service.acknowledging import Acknowledgement
from chronoduck.service.engine_access import EngineAccess
from chronoduck.service.engine_turn import EngineTurn
from chronoduck.service.records import RunningStatement
from chronoduck.service.stuck import unheard
from chronoduck.service.widening import return_widened
from chronoduck.service.write_pass import WritePass
from chronoduck.sql.engine_errors import EngineFailure
from chronoduck.sql.statements import CHANGES_CATALOG

__all__ = ["Session"]

T = TypeVar("T")
_INTERRUPT_EVERY_SECONDS = 0.05
"""An interrupt that arrives before DuckDB begins is lost: it is repeated until the worker is back."""
_GRACE_SECONDS = 1.0
"""How long after an interrupt a caller waits for the engine to listen to it."""


class HeldResult(Protocol):
    """A result that may hold something of the engine."""

    def release(self) -> None: ...


class Session:
    """Runs steps on one connection until it is closed; every step takes a worker's place anew.

    A step is a function of the connection that runs in a worker thread. Between steps no place is
    held, so that a slow reader of a result keeps a connection busy but never a worker. Use from the
    event loop, one step at a time; ``close`` must be called in every case and never waits.
    """

    def __init__(
        self,
        access: EngineAccess,
        token: CancelToken,
        running: RunningStatement,
        account: Account,
        *,
        is_writer: bool,
        is_alter: bool = False,
        is_own_text: bool = False,
        alone_seconds: float | None = None,
    ) -> None:
        """``alone_seconds``: how long it may keep all other writers out; None: until its deadline."""
        self._access = access
        self._account = account
        self._party_id = account.principal.id
        self._is_capped = account.principal.role is not Role.ADMIN
        self._has_seat = False
        """Whether the gate counts a connection for it."""
        self._write_pass = WritePass(
            access.gate,
            is_writer=is_writer,
            is_alter=is_alter,
            alone_seconds=alone_seconds,
            on_too_long=partial(self.interrupt, CancelReason.DEADLINE),
        )
        self.running = running
        self._deadline = time.monotonic() + token.timeout_seconds - running.age_seconds
        self._lease: PooledConnection[Connection] | None = None
        self._busy = self._closed = self._is_clean = False
        self._idle_timer: asyncio.TimerHandle | None = None
        self._result: HeldResult | None = None
        self._outcome: asyncio.Future[Any] | None = None
        """Of the step that runs."""
        self._is_interrupting = self._is_waking = False
        self._is_stuck = False
        self._task: asyncio.Task[Any] | None = None
        """The one that waits in ``run``."""
        self._abandoned: DuckDBException | None = None
        self.token = token
        self._generation = access.instance.generation
        """The opening of the instance that the last step ran in."""
        self._turn = EngineTurn(running, access.record, access.alone, access.penalties)
        self._acknowledgement = Acknowledgement(
            access.barrier, self._write_pass, self._judge, access.instance.note_catalog_change
        )
        self.commits = self._acknowledgement.commits
        """What it has committed, or may have."""
        self.is_own_text = is_own_text
        """Whether the service wrote the statement: then no scope narrows it, no limit of scans holds."""
        scope = None if is_own_text else running.caller.principal.scope
        self._narrowed = None if scope is None else NarrowedConnection(access.scopes, scope)

    def interrupt(self, reason: CancelReason, error: DuckDBException | None = None) -> None:
        """End the statement from outside: interrupt its worker, or its next step before it begins.

        ``error`` is what the caller gets; without one the reason tells.
        """
        self.token.cancel(reason, error)
        if not self._busy and self._lease is not None:
            self._end_pause(reason)
            return
        self._begin_interrupt(asyncio.get_running_loop(), reason)

    @property
    def progress(self) -> float | None:
        """The share of the running step that the engine says is done, 0 to 1; None: it says nothing."""
        connection = self._lease.opened if self._busy and self._lease is not None else None
        percent = -1.0 if connection is None else connection.query_progress()
        return None if percent < 0 else min(1.0, percent / 100)

    @property
    def is_writer(self) -> bool:
        """Whether it may write."""
        return self._write_pass.is_writer

    @property
    def is_stuck(self) -> bool:
        """Whether its worker did not come back after an interrupt."""
        return self._is_stuck

    def abandon(self) -> None:
        """Send the caller away because this process ends: whatever it waits for, it waits in vain."""
        has_begun = self.running.state != "waiting"
        if self.token.reason is not None:
            # Not "send it again": it may be the statement for which the process ends.
            self._abandoned = unheard(self.token, self.token.reason)
        elif self._write_pass.is_writer and has_begun:
            self._abandoned = WriteOutcomeUnknownError(
                "the server's process was replaced while this statement wrote; "
                "it may or may not have been applied"
            )
        else:
            self._abandoned = EngineRestartedError(
                "the server's process is being replaced; nothing of this statement was "
                + ("answered" if has_begun else "run")
            )
        if self._task is not None:
            self._task.cancel()
        elif self._lease is not None:
            self._end_pause(CancelReason.ENGINE_LOST)

    def attach(self, result: HeldResult) -> None:
        """Have a result that is read in several steps end with the connection it is read from."""
        self._result = result

    def leave_engine(self) -> None:
        """Let go of an instance that is to be closed: interrupt a step, or end a pause for good."""
        if self._busy:
            self.token.interrupt_engine()
        elif self._lease is not None and not self._is_waking:
            self._end_pause(CancelReason.ENGINE_LOST)

    def hold(self) -> None:
        """Expect pauses between steps; the deadline then takes the connection from an idle session.

        Without this a client that stops reading a result, or a transaction that is never ended,
        would keep a connection (and the engine's snapshot) for ever.
        """
        self.running.state = "streaming"
        self._idle_timer = asyncio.get_running_loop().call_later(
            max(0.0, self.remaining_seconds), self._expire_idle
        )

    def _expire_idle(self) -> None:
        if not self._busy and not self._closed:
            self._end_pause(CancelReason.DEADLINE)

    def _end_pause(self, reason: CancelReason) -> None:
        self._is_clean = False
        self.token.cancel(reason)
        self._return_lease()

    def mark_clean(self) -> None:
        """Say that the connection holds nothing of this session and may be used as it is."""
        self._is_clean = True

    @property
    def limits(self) -> Limits:
        """The limits in force for the principal."""
        return self._account.limits

    @property
    def remaining_seconds(self) -> float:
        """Time left until the deadline."""
        return self._deadline - time.monotonic()

    async def run(self, step: Callable[[Connection], T]) -> T:
        """Run the step in a worker thread and return its result.

        Raises:
            StatementTimeoutError: the deadline passed, waiting or running.
            StatementCancelledError: it was interrupted.
            QueueFullError: too many callers wait.
            QuotaExceededError: the principal's engine time is used up.
            EngineRestartedError: this process ends; the next one answers.
            DuckDBException: what the step raised.
        """
        if self._abandoned is not None:
            raise self._abandoned
        self._task = asyncio.current_task()
        try:
            return await self._run(step)
        except asyncio.CancelledError:
            if self._abandoned is None or self._task is None:
                raise
            self._task.uncancel()
            raise self._abandoned from None
        finally:
            self._task = None

    async def _run(self, step: Callable[[Connection], T]) -> T:
        while True:
            generation = self._generation = self._access.instance.generation
            try:
                result = await self._run_once(step)
                await self._acknowledgement.settle()
                return result
            except EngineFailure as failure:
                self._is_clean = False
                if failure.is_fatal:
                    reason = (
                        HealReason.INTERNAL if failure.is_statements_fault else HealReason.FATAL
                    )
                    self._access.healer.start(generation, reason, failure.operator_detail)
                if (
                    not failure.had_no_effect
                    or self.commits.may_exist
                    or self.running.state == "streaming"
                    or self.token.reason is not None
                ):
                    raise self.commits.judge(failure) from failure
                # The instance was lost before this statement began: it is safe to run it again.
                self._return_lease()
                if self.remaining_seconds <= 0:
                    raise
            except BatchError:
                await self._acknowledgement.settle()  # it says what stays committed
                raise
            except DuckDBException as error:
                told = self.commits.judge(error)
                if told is error:
                    raise
                raise told from error

    async def stay_alone(self) -> None:
        """Wait until this transaction is the only one that writes, and let no other begin.

        Raises:
            WritersBusyError: the others do not end in time.
        """
        await self._write_pass.stay_alone(max(0.0, self.remaining_seconds))

    async def _run_once(self, step: Callable[[Connection], T]) -> T:
        if self.running.kind in CHANGES_CATALOG and not self._has_seat:
            await self._access.barrier.shorten()
        if self.running.kind != "checkpoint":
            return await self._run_admitted(step)
        seconds = max(0.0, self.remaining_seconds)
        async with self._access.checkpoints.counted(seconds, lambda: self._busy):
            return await self._run_admitted(step)

    async def _run_admitted(self, step: Callable[[Connection], T]) -> T:
        access = self._access
        if self.remaining_seconds <= 0:
            self.token.cancel(CancelReason.DEADLINE)
        self.token.check()
        if access.healer.is_healing and not await access.healer.wait_until_open(
            max(0.0, self.remaining_seconds)
        ):
            raise StatementTimeoutError(
                f"the database was not reopened within {self.token.timeout_seconds:g} s",
                hint="GET health tells why; the service keeps trying.",
            )
        await self._write_pass.enter(max(0.0, self.remaining_seconds))
        self._account.check_engine_time()
        had_seat = self._has_seat
        waited = await access.places.acquire(
            max(0.0, self.remaining_seconds),
            self._party_id,
            is_capped=self._is_capped,
            has_seat=had_seat,
        )
        self.running.queue_seconds += waited
        try:
            if not had_seat:
                self._has_seat = True
            await self._turn.enter(max(0.0, self.remaining_seconds))
            self.token.check()
            if waited:
                self._account.check_engine_time()
            if self._lease is None:
                self._lease = await access.leases.get_connection(max(0.0, self.remaining_seconds))
        except BaseException:
            self._turn.leave()
            access.places.release(self._party_id)
            raise
        return await self._run_in_worker(step, self._lease)

    async def _run_in_worker(
        self, step: Callable[[Connection], T], lease: PooledConnection[Connection]
    ) -> T:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        self._busy = True
        self._outcome = outcome
        if self.running.state == "waiting":
            self.running.state = "running"

        def work() -> None:
            result: Any = None
            error: BaseException | None = None
            began = time.perf_counter()
            try:
                self._turn.begin()
                narrowed, raw = self._narrowed, lease.raw
                result = step(raw) if narrowed is None else narrowed.run(raw, step)
            except DuckDBException as raised:
                error = self._judge(raised)
            except BaseException as raised:  # noqa: BLE001 - handed to the caller below
                error = raised
            self._acknowledgement.look()
            self._turn.end()
            seconds = time.perf_counter() - began
            loop.call_soon_threadsafe(self._finish_step, outcome, result, error, seconds)

        self._account.begin_step(self)
        self._access.workers.submit(work)
        timer = loop.call_later(
            max(0.0, self.remaining_seconds), self._begin_interrupt, loop, CancelReason.DEADLINE
        )
        try:
            return await outcome
        except asyncio.CancelledError:
            self._begin_interrupt(loop, CancelReason.CALLER_LEFT)
            raise
        finally:
            self._is_waking = False
            timer.cancel()

    def _judge(self, error: DuckDBException) -> DuckDBException:
        """Return the error as measurements show it; called in worker threads."""
        is_checkpoint = self.running.kind == "checkpoint"
        return self._access.instance.judge(error, self._generation, is_checkpoint=is_checkpoint)

    def _finish_step(
        self,
        outcome: asyncio.Future[T],
        result: T,
        error: BaseException | None,
        seconds: float,
    ) -> None:
        """Give the place back, charge for it and wake the caller, on the event loop."""
        self._busy = self._is_interrupting = False
        self._outcome = None
        if self._is_stuck:
            self._is_stuck = False
            self._access.stuck.remove(self.running)
        self.running.engine_seconds += seconds
        self._account.end_step(self, seconds)
        self._turn.leave()
        self._access.places.release(self._party_id)
        if self._closed:
            self._leave()
        if outcome.done():
            return
        if error is not None:
            self._is_waking = True  # it may repeat the step: that is no pause
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    def _begin_interrupt(self, loop: asyncio.AbstractEventLoop, reason: CancelReason) -> None:
        if not self._busy or self._is_interrupting:
            return
        assert self._outcome is not None  # noqa: S101 - there is one while it is busy
        self._is_interrupting = True
        self._interrupt_until_back(loop, reason)
        loop.call_later(_GRACE_SECONDS, self._give_up, self._outcome, reason)

    def _interrupt_until_back(self, loop: asyncio.AbstractEventLoop, reason: CancelReason) -> None:
        if self._busy:
            self._is_clean = False
            self.token.cancel(reason)
            loop.call_later(_INTERRUPT_EVERY_SECONDS, self._interrupt_until_back, loop, reason)

    def _give_up(self, outcome: asyncio.Future[Any], reason: CancelReason) -> None:
        """Send the caller away although the engine still works: some loops cannot be interrupted."""
        if self._outcome is not outcome:
            return
        self._is_stuck = True
        if not outcome.done():
            outcome.set_exception(unheard(self.token, reason))
        is_charged = not self.is_own_text
        self._access.stuck.add(self.running, self._turn.flag_stuck, is_charged=is_charged)

    def close(self) -> None:
        """Give the connection back: now, or when the worker that still uses it comes back."""
        self._closed = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if not self._busy:
            self._leave()

    def _leave(self) -> None:
        self._return_lease()
        self._acknowledgement.release()
        self._write_pass.leave()

    def _return_lease(self) -> None:
        if self._result is not None:
            self._result.release()
        lease, self._lease = self._lease, None
        has_seat, self._has_seat = self._has_seat, False
        leave = partial(self._access.places.leave, self._party_id) if has_seat else None
        if lease is not None:
            self._give_back(lease, leave)
        elif leave is not None:
            leave()

    def _give_back(
        self, lease: PooledConnection[Connection], leave: Callable[[], None] | None
    ) -> None:
        """Return the connection; the seat is kept until it is closed, which may roll back for long."""
        pool = self._access.leases
        if self._narrowed is None:
            pool.return_connection(lease, tainted=not self._is_clean, on_free=leave)
        elif self._is_clean:
            return_widened(pool, self._access.workers, lease, self._narrowed, leave)
        else:
            pool.return_connection(lease, tainted=True, on_free=leave)
            self._narrowed.abandon()
