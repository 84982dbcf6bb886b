"""The way of every statement: parse, breaker, place, connection, engine, record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol, TypeVar

from chronoduck.engine.analyzers.analysis import Analysis
from chronoduck.engine.cancellation import CancelReason
from chronoduck.engine.database import Connection
from chronoduck.engine.quarantined import QuarantineList
from chronoduck.engine.query_log import reading_query_log
from chronoduck.engine.scopes.registry import check_reader
from chronoduck.engine.stored_results import StoredResults
from chronoduck.engine.write_walls import walled
from chronoduck.errors import (
    DuckDBException,
    InvalidRequestError,
    NotFoundError,
    ReaderInterruptedError,
)
from chronoduck.principals import LOCAL, Limits, Principal
from chronoduck.resilience.breaker import CircuitBreaker
from chronoduck.service import outcomes
from chronoduck.service.commit_holder import CommitHolder
from chronoduck.service.engine_access import EngineAccess
from chronoduck.service.open_statement import OpenStatement
from chronoduck.service.penalties import FaultKind
from chronoduck.service.quotas import Quotas
from chronoduck.service.records import (
    Caller,
    RunningStatement,
    StatementObserver,
    StatementRecord,
    new_statement_id,
)
from chronoduck.service.rejudging import Rejudging
from chronoduck.service.session import Session
from chronoduck.service.write_admission import WriteAdmission
from chronoduck.settings import Settings
from chronoduck.sql.guard import Origin, Pending
from chronoduck.sql.rules.refusals import RULES, TELLS_OF_ALL, refuse
from chronoduck.sql.rules.temporary import refuse_temporary
from chronoduck.sql.statements import (
    MAX_STATEMENT_BYTES,
    Statement,
    StatementParser,
    query_hash,
)

__all__ = ["StatementRunner"]

T = TypeVar("T")


class Borrower(Protocol):
    """Keeps a connection between its statements."""

    def leave_engine(self) -> None: ...
    def close(self) -> None: ...


class StatementRunner:
    """Opens sessions for statements, keeps the list of running ones and tells observers of the end."""

    def __init__(
        self,
        access: EngineAccess,
        breaker: CircuitBreaker,
        parser: StatementParser,
        analysis: Analysis,
        settings: Settings,
        observers: Sequence[StatementObserver] = (),
        writes: WriteAdmission | None = None,
        quotas: Quotas | None = None,
        open_query_log: Callable[[], Connection] | None = None,
        fetch_objects: Callable[[Statement], Awaitable[Statement]] | None = None,
        results: StoredResults | None = None,
    ) -> None:
        """Without ``writes`` every write may begin, without ``quotas`` all is allowed.

        ``open_query_log`` returns a connection to the query log; without it there is none.
        ``results``: where results of jobs are read.
        ``fetch_objects`` puts files in place of objects of S3 that the engine cannot read itself.
        """
        self.access = access
        self.breaker = breaker
        self.parser = parser
        self.analysis = analysis
        self.settings = settings
        self._observers = tuple(observers)
        self.writes = writes or WriteAdmission()
        self._open_query_log = open_query_log
        self._results = results
        self._fetch_objects = fetch_objects
        self.quotas = quotas or Quotas()
        self.penalties = access.penalties
        self._quarantined = QuarantineList(settings.database_path)
        self._sessions: dict[str, Session] = {}
        self.loans: set[Borrower] = set()
        """Connections that code in this process borrowed."""
        self._holder = CommitHolder()

    def timeout(self, asked: float | None, limits: Limits, *, is_job: bool = False) -> float:
        """Return the deadline in seconds for what the caller asked for; its limits shorten it.

        Raises:
            InvalidRequestError: not above 0 or above ``DUCKDB_MAX_STATEMENT_TIMEOUT``.
        """
        settings = self.settings
        longest = limits.statement_timeout or float("inf")
        limit = settings.job.timeout if is_job else settings.max_statement_timeout
        if asked is None:
            return min(longest, limit if is_job else settings.statement_timeout)
        if not 0 < asked <= limit:
            variable = "DUCKDB_JOB_TIMEOUT" if is_job else "DUCKDB_MAX_STATEMENT_TIMEOUT"
            raise InvalidRequestError(
                f"timeout_seconds is {asked:g}; it must be above 0 and at most {limit:g}",
                hint=f"The operator sets the limit as {variable}.",
            )
        return min(longest, asked)

    async def parse(
        self, sql: str, caller: Caller, origin: Origin = "user", pending: Pending | None = None
    ) -> Statement:
        """Return what the text is; a text that is refused is recorded like a failed statement.

        Code in this process may do what it likes; everybody else's statements go through the guard.
        ``pending``: what the statements before it in a batch or transaction define.

        Raises:
            DuckDBQueryError: it is not one valid statement of a kind that is run here.
            StatementRefusedError: the caller may not run it.
            PenaltyBoxError: the caller, or this statement of it, has to wait.
            TypeError: it is no text.
        """
        if not isinstance(sql, str):
            raise TypeError(f"a statement is a str, not {type(sql).__name__}: {sql!r:.80}")
        principal = caller.principal
        try:
            self.penalties.check(caller, sql)
            if principal.id == LOCAL.id and principal.scope is None and principal.writes is None:
                statement = self.parser.parse(sql)
                if pending is None:
                    refuse_temporary(statement.kind, sql)
                self._judge_query_log(statement, principal, pending)
                return await self._fetched(statement)
            await self._quarantined.follow()
            self._quarantined.check(sql)
            account = self.quotas.account(principal)
            account.check_engine_time()
            started = time.perf_counter()
            before = Pending() if pending is None else pending
            created, statements = before.created, before.statements
            statement, names, definitions = await self.analysis.judge(
                sql, principal, origin, pending, account.charge
            )
            if pending is None:
                refuse_temporary(statement.kind, sql)
            statement = replace(statement, judged_seconds=time.perf_counter() - started)
            live = self.analysis.live
            if definitions is not None and live is not None and not statement.reads_query_log:
                loop = asyncio.get_running_loop()
                recheck = Rejudging(
                    *(self.analysis, live, loop, statement, principal, origin, definitions),
                    *(created, statements),
                )
                statement = replace(statement, recheck=recheck)
            self._judge_query_log(statement, principal, pending)
            if principal.scope is not None:
                self.access.scopes.judge(statement, principal, names)
            return await self._fetched(walled(statement, principal))
        except DuckDBException as error:
            # What is longer was not looked at, and is not recorded either.
            sql = sql[:MAX_STATEMENT_BYTES]
            self._record_refusal(sql, "invalid", query_hash(sql), caller, error)
            rule = outcomes.reason_of(error)["rule"]
            if principal.scope is not None and rule in TELLS_OF_ALL:
                error.hint = RULES["scope"]
            if rule == "analysis":
                self.penalties.note_fault(caller, sql, FaultKind.ANALYZER_KILLED)
            raise

    def parse_own(self, sql: str) -> Statement:
        """Return what a text of the service itself is; open it with ``is_own_text``.

        Nothing that a user sent may stand in it: no rule judges it, and no scope narrows it.
        """
        return self.parser.parse(sql)

    async def _fetched(self, statement: Statement) -> Statement:
        return statement if self._fetch_objects is None else await self._fetch_objects(statement)

    def _judge_query_log(
        self, statement: Statement, principal: Principal, pending: Pending | None
    ) -> None:
        if not statement.reads_query_log:
            return
        if principal.scope is not None:
            refuse("query-log", "a key that is narrowed does not read the query log")
        if pending is not None:
            refuse("query-log", "the query log is not read inside a batch or transaction")
        if self._open_query_log is None:
            raise NotFoundError("there is no query log", hint="Set DUCKDB_QUERY_LOG_ENABLED=true.")

    def routed(
        self, statement: Statement, step: Callable[[Connection], T]
    ) -> Callable[[Connection], T]:
        """Return the step of a statement as one that runs where its tables are."""
        results = self._results
        if statement.reads_results and results is not None:

            def run_on_results(_: Connection) -> T:
                with results.reading() as connection:
                    return step(connection)

            return run_on_results
        open_query_log = self._open_query_log
        if not statement.reads_query_log or open_query_log is None:
            return step

        def run_elsewhere(_: Connection) -> T:
            with reading_query_log():
                return step(open_query_log())

        return run_elsewhere

    def record_refusal(self, statement: Statement, caller: Caller, error: DuckDBException) -> None:
        """Record a valid statement that never got a session."""
        self._record_refusal(statement.text, statement.kind, statement.query_hash, caller, error)

    def _record_refusal(
        self, sql: str, kind: str, sql_hash: str, caller: Caller, error: DuckDBException
    ) -> None:
        self.remove(
            StatementRecord(
                id=new_statement_id(),
                sql=sql,
                kind=kind,
                query_hash=sql_hash,
                caller=caller,
                outcome=outcomes.outcome_of(error),
                **outcomes.reason_of(error),
                ended_at=time.time(),
                execution_time=0.0,
                queue_time=0.0,
                rows=0,
                memory_mb=0.0,
            )
        )
        error.is_recorded = True

    @asynccontextmanager
    async def session(
        self,
        statement: Statement,
        caller: Caller,
        timeout: float | None = None,
        *,
        is_own_text: bool = False,
        access: EngineAccess | None = None,
        is_counted: bool = True,
    ) -> AsyncIterator[Session]:
        """Enter a session for one statement; its end is recorded however it leaves."""
        session = self.open(
            statement,
            caller,
            timeout,
            is_own_text=is_own_text,
            access=access,
            is_counted=is_counted,
        )
        try:
            yield session.session
        except BaseException as error:
            session.end(error)
            raise
        session.end(None)

    def open(
        self,
        statement: Statement,
        caller: Caller,
        timeout: float | None = None,
        *,
        is_job: bool = False,
        is_own_text: bool = False,
        access: EngineAccess | None = None,
        is_counted: bool = True,
    ) -> OpenStatement:
        """Begin a statement whose end the caller tells by ``end``, exactly once.

        ``is_own_text``: the service wrote it to answer this caller. It runs on the caller's account,
        within its share of workers and connections, and is not narrowed to its scope.
        ``access``: of a borrowed connection that it is run on. Without ``is_counted`` it is one that its
        account counts elsewhere.

        Raises:
            CircuitBreakerOpenException: the breaker refuses calls now.
            DiskFullError: it would write, and there is too little space.
            QuotaExceededError: the principal used what it may use.
            PenaltyBoxError: the caller has to wait.
        """
        try:
            self.penalties.check(caller, statement.text)
            check_reader(caller.principal)
            self.writes.check(statement, caller)
            account = self.quotas.account(caller.principal)
            timeout = self.timeout(timeout, account.limits, is_job=is_job)
            if is_counted:
                account.open_statement()
        except DuckDBException as error:
            self.record_refusal(statement, caller, error)
            raise
        try:
            return OpenStatement(
                *(self, statement, caller, timeout, account),
                is_own_text=is_own_text,
                access=access,
                is_counted=is_counted,
            )
        except BaseException as error:
            if is_counted:
                account.close_statement()
            if isinstance(error, DuckDBException):
                self.record_refusal(statement, caller, error)
            raise

    async def close(self) -> None:
        """End what judges statements, and what reads results."""
        await self.analysis.close()
        if self._results is not None:
            self._results.close()

    def add(self, session: Session) -> None:
        """List a statement as running."""
        self._sessions[session.running.id] = session

    def remove(self, record: StatementRecord) -> None:
        """Take a statement off the list and tell the observers of its end."""
        self._sessions.pop(record.id, None)
        self.analysis.note_statement(record.kind, record.sql)
        for observer in self._observers:
            observer(record)

    def list_running(self) -> list[RunningStatement]:
        """Return the statements that wait, run or stream now, oldest first."""
        return [session.running for session in self._sessions.values()]

    def list_writing(self) -> list[RunningStatement]:
        """Return those of them that may write."""
        return [each.running for each in self._sessions.values() if each.is_writer]

    def interrupt_writes(
        self,
        is_meant: Callable[[RunningStatement], bool],
        make_error: Callable[[], DuckDBException],
    ) -> None:
        """End the writes that are meant, each with an error of its own."""
        for session in list(self._sessions.values()):
            if session.is_writer and is_meant(session.running):
                session.interrupt(CancelReason.NO_SPACE, make_error())

    def interrupt_running(
        self,
        is_meant: Callable[[RunningStatement], bool],
        make_error: Callable[[], DuckDBException],
    ) -> None:
        """End the statements that have begun and are meant, reads too, each with an error."""
        for session in list(self._sessions.values()):
            if session.running.state != "waiting" and is_meant(session.running):
                session.interrupt(CancelReason.NO_SPACE, make_error())

    def cancel(self, statement_id: str) -> RunningStatement:
        """Interrupt a running statement.

        Raises:
            NotFoundError: no statement of that id runs.
        """
        session = self._sessions.get(statement_id)
        if session is None:
            raise NotFoundError(
                f"no statement {statement_id} is running",
                hint="It may have ended already; GET queries lists the running ones.",
            )
        session.interrupt(CancelReason.OPERATOR)
        return session.running

    def leave_engine(self) -> None:
        """Have every session let go of the engine before its instance is closed."""
        for session in list(self._sessions.values()):
            session.leave_engine()
        for loan in list(self.loans):
            loan.leave_engine()

    @property
    def is_idle_but_for_stuck(self) -> bool:
        """Whether all that still runs are statements whose workers do not come back."""
        return all(session.is_stuck for session in self._sessions.values())

    def end_holder(self) -> bool:
        """End the write for whose commit others wait; say whether there may be one."""
        return self._holder.end(
            [
                session
                for session in self._sessions.values()
                if session.is_writer and session.running.state == "running" and not session.is_stuck
            ]
        )

    def abandon_all(self) -> None:
        """Send every caller away, because this process ends."""
        for session in list(self._sessions.values()):
            session.abandon()

    def interrupt_readers(self, older_than_seconds: float) -> int:
        """End statements that only read and began longer ago; return how many."""
        before = time.perf_counter() - older_than_seconds
        old = [
            session
            for session in self._sessions.values()
            if not session.is_writer and session.running.started < before
        ]
        for session in old:
            session.interrupt(
                CancelReason.CHECKPOINT,
                ReaderInterruptedError("the service had to run a checkpoint that could not wait"),
            )
        return len(old)

    def cancel_all(self, reason: CancelReason) -> None:
        """Interrupt every running statement, and take back what was borrowed."""
        for session in list(self._sessions.values()):
            session.interrupt(reason)
        for loan in list(self.loans):
            loan.close()
