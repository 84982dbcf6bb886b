"""One statement from its admission to its record."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chronoduck.engine.cancellation import CancelToken
from chronoduck.errors import DuckDBException
from chronoduck.principals import Role
from chronoduck.service import outcomes
from chronoduck.service.accounts import Account
from chronoduck.service.engine_access import EngineAccess
from chronoduck.service.penalties import FaultKind
from chronoduck.service.records import (
    Caller,
    RunningStatement,
    StatementRecord,
    new_statement_id,
)
from chronoduck.service.session import Session
from chronoduck.sql.statements import Statement, query_hash

if TYPE_CHECKING:
    from chronoduck.service.runner import StatementRunner

__all__ = ["OpenStatement"]


class OpenStatement:
    """A statement on its way: its session, and the one call that ends it."""

    def __init__(
        self,
        runner: StatementRunner,
        statement: Statement,
        caller: Caller,
        timeout: float,
        account: Account,
        *,
        is_own_text: bool = False,
        access: EngineAccess | None = None,
        is_counted: bool = True,
    ) -> None:
        self._runner = runner
        self._is_counted = is_counted
        self.account = account
        self._permit = runner.breaker.before_call()
        self._is_read_only = statement.is_read_only
        running = RunningStatement(
            id=new_statement_id(),
            sql=statement.text,
            kind=statement.kind,
            query_hash=statement.query_hash,
            caller=caller,
            timeout_seconds=timeout,
        )
        running.predate(statement.judged_seconds)
        self.session = Session(
            access or runner.access,
            CancelToken(timeout),
            running,
            account,
            is_writer=not statement.is_read_only and statement.kind != "checkpoint",
            is_alter=statement.is_alter,
            is_own_text=is_own_text,
            alone_seconds=None
            if caller.principal.role is Role.ADMIN
            else runner.settings.deadline.alter,
        )
        self._ended = False
        runner.add(self.session)

    def end(self, error: BaseException | None) -> None:
        """Return the connection, tell the breaker, the list and the observers. Idempotent."""
        if self._ended:
            return
        self._ended = True
        self.session.close()
        if self._is_counted:
            self.account.close_statement()
        running = self.session.running
        seconds = time.perf_counter() - running.started
        breaker = self._runner.breaker
        outcome = outcomes.outcome_of(error)
        if outcome == "ok":
            breaker.record_success(self._permit, seconds)
        elif outcomes.is_infrastructure_failure(error):
            breaker.record_failure(self._permit, outcomes.sentence_of(error))
        else:
            breaker.record_neutral(self._permit)
        self._note_fault(error)
        record = StatementRecord(
            id=running.id,
            sql=running.sql,
            kind=running.kind,
            query_hash=running.query_hash or query_hash(running.sql),
            caller=running.caller,
            outcome=outcome,
            **outcomes.reason_of(error),
            ended_at=time.time(),
            execution_time=seconds,
            queue_time=running.queue_seconds,
            rows=running.rows,
            memory_mb=running.memory_mb,
            engine_seconds=running.engine_seconds,
            encode_seconds=running.encode_seconds,
            bytes=running.bytes,
            harm=outcomes.harm_of(error),
            is_read_only=self._is_read_only,
        )
        self._runner.remove(record)
        if isinstance(error, DuckDBException):
            error.is_recorded = True

    def _note_fault(self, error: BaseException | None) -> None:
        """Hold internal errors of the engine against whose statement met them."""
        harm, running = outcomes.harm_of(error), self.session.running
        if harm is not None:  # the kinds of faults have the same names
            self._runner.penalties.note_fault(running.caller, running.sql, FaultKind(harm))
