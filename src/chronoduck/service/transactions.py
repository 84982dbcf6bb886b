"""A transaction over several awaits: one connection, committed at the end or rolled back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from chronoduck.engine.execution import FetchMode, Params, begin, commit
from chronoduck.errors import DuckDBException, DuckDBQueryError
from chronoduck.principals import LOCAL
from chronoduck.service.batch import refuse_inside
from chronoduck.service.engine_access import EngineAccess
from chronoduck.service.queries import run_and_fetch
from chronoduck.service.records import Caller
from chronoduck.service.results import QueryResult
from chronoduck.service.runner import StatementRunner
from chronoduck.service.session import Session
from chronoduck.sql.guard import Pending
from chronoduck.sql.rules.kinds import may_write
from chronoduck.sql.statements import Statement

__all__ = ["Transaction", "open_transaction"]

_NOTED_CHARACTERS = 20_000
_LABEL = Statement(
    text="-- transaction",
    kind="transaction",
    parameter_names=frozenset(),
    query_hash="",
    leaves_state=True,
    is_label=True,
)


class Transaction:
    """An open transaction. After one failed statement nothing of it can be committed any more."""

    def __init__(self, runner: StatementRunner, session: Session, caller: Caller) -> None:
        self._runner = runner
        self._session = session
        self._caller = caller
        self._pending = Pending()
        self._failure: BaseException | None = None
        self._is_open = True

    async def execute(
        self, sql: str, params: Params = None, fetch_mode: FetchMode = "all"
    ) -> QueryResult:
        """Run one statement inside the transaction and return its result.

        Raises:
            DuckDBQueryError: the statement failed, or an earlier one did; the transaction is lost.
        """
        if not self._is_open:
            raise DuckDBQueryError(
                "the transaction has ended", hint="Open another one with service.transaction()."
            )
        if self._failure is not None:
            raise _aborted(
                self._failure,
                f"the transaction failed before this statement: {self._failure}",
                hint="Leave the block; nothing of the transaction is kept. Then run it again.",
            )
        statement = await self._runner.parse(sql, self._caller, pending=self._pending)
        statement = replace(statement, in_read_only_transaction=False)  # the transaction is
        refuse_inside(statement)
        self._runner.writes.check(statement, self._caller)
        self._note(statement.text)
        try:
            if statement.is_alter:
                await self._session.stay_alone()
            return await self._session.run(
                lambda connection: run_and_fetch(
                    connection, statement, params, self._session, fetch_mode
                )
            )
        except BaseException as error:
            self._failure = error
            raise

    def _note(self, sql: str) -> None:
        """Have the listing and the record of the transaction show what was run in it."""
        running = self._session.running
        if len(running.sql) < _NOTED_CHARACTERS:
            running.sql += f";\n{sql[:_NOTED_CHARACTERS]}"

    async def finish(self) -> None:
        """Commit; raise when an earlier statement failed, even if its error was swallowed."""
        self._is_open = False
        if self._failure is not None:
            raise _aborted(
                self._failure,
                f"nothing was committed: a statement of the transaction failed: {self._failure}",
                hint="Run the whole transaction again.",
            ) from self._failure
        session = self._session
        await session.run(lambda connection: commit(connection, session.token, session.commits))

    def abandon(self) -> None:
        """Refuse further statements; closing the connection rolls back."""
        self._is_open = False


def _aborted(failure: BaseException, detail: str, *, hint: str) -> DuckDBQueryError:
    error = DuckDBQueryError(detail, hint=hint, category="transaction_aborted")
    if isinstance(failure, DuckDBException):
        error.keep_state_of(failure)
    return error


@asynccontextmanager
async def open_transaction(
    runner: StatementRunner,
    caller: Caller,
    timeout: float | None = None,
    *,
    access: EngineAccess | None = None,
) -> AsyncIterator[Transaction]:
    """Commit when the block ends, roll back when it raises or is cancelled.

    The deadline (default: the longest that is allowed) covers the whole block, so that a forgotten
    transaction cannot keep a connection for ever. ``access``: of a borrowed connection that it is run on.
    """
    timeout = runner.settings.max_statement_timeout if timeout is None else timeout
    async with runner.session(_LABEL, caller, timeout, access=access) as session:
        reads = caller.principal.id != LOCAL.id and not may_write(caller.principal.role)
        await session.run(
            lambda connection: begin(connection, session.token, session.commits, read_only=reads)
        )
        session.hold()
        transaction = Transaction(runner, session, caller)
        try:
            yield transaction
        except BaseException:
            # The session is left tainted: its connection is closed, which rolls back.
            transaction.abandon()
            raise
        try:
            await transaction.finish()
        except DuckDBException:
            transaction.abandon()
            raise
