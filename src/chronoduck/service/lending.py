"""Connections for code in this process that wants to hold one: every statement on it is an ordinary one.

A borrower gets no connection of DuckDB's. Its statements are parsed, admitted, committed, proven and
recorded as all others are; only the place in the pool stays the borrower's between them.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from chronoduck.engine.execution import Params
from chronoduck.errors import DuckDBQueryError, ServiceUnavailableError
from chronoduck.service.lent_place import LentPlace
from chronoduck.service.queries import Queries
from chronoduck.service.records import Caller
from chronoduck.service.results import QueryResult
from chronoduck.service.runner import StatementRunner
from chronoduck.service.transactions import Transaction, open_transaction

__all__ = ["Loan", "lend"]


class _RolledBackError(Exception):
    """Ends a transaction's block without a commit."""


async def lend(
    runner: StatementRunner, caller: Caller | None = None, timeout: float | None = None
) -> Loan:
    """Return a connection that is the caller's until ``close``; waits for one for ``timeout`` seconds.

    Raises:
        PoolTimeoutError, QueueFullError: none came free.
    """
    loan = Loan(runner, caller or Caller())
    await loan.open(runner.settings.statement_timeout if timeout is None else timeout)
    return loan


class Loan:
    """One borrowed connection. Statements are run one after the other, in the order of the calls.

    Unused for the longest time that a statement may take, it is taken back, and a transaction that is
    open in it is rolled back. The next statement borrows again. Use from the service's event loop.
    """

    def __init__(self, runner: StatementRunner, caller: Caller) -> None:
        self._runner = runner
        self._queries = Queries(runner)
        self._caller = caller
        self._turn = asyncio.Lock()
        self._place: LentPlace | None = None
        self._block: AbstractAsyncContextManager[Transaction] | None = None
        self._transaction: Transaction | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        self._is_closed = False

    async def open(self, seconds: float) -> None:
        """Take a place; see ``lend``."""
        place = LentPlace(self._runner.access, self._caller.principal.id)
        await place.take(seconds)
        self._place = place
        self._runner.loans.add(self)
        self._await_use()

    @property
    def in_transaction(self) -> bool:
        """Whether ``begin`` was called and nothing ended it."""
        return self._transaction is not None

    async def execute(
        self, sql: str, params: Params = None, timeout: float | None = None
    ) -> QueryResult:
        """Run one statement and return all its rows.

        Raises:
            ServiceUnavailableError: the connection was returned.
            DuckDBException: as ``DuckDBService.execute_query`` does.
        """
        async with self._turn:
            place = await self._used(timeout)
            try:
                if self._transaction is not None:
                    return await self._transaction.execute(sql, params)
                access = replace(self._runner.access, lender=place)
                return await self._queries.execute(
                    sql, params, timeout=timeout, caller=self._caller, access=access
                )
            finally:
                self._await_use()

    async def begin(self, timeout: float | None = None) -> None:
        """Begin a transaction; it has ``timeout`` seconds until its end.

        Raises:
            DuckDBQueryError: one is open already.
        """
        async with self._turn:
            place = await self._used(None)
            if self._transaction is not None:
                raise DuckDBQueryError(
                    "a transaction is open on this connection", hint="End it by commit or rollback."
                )
            access = replace(self._runner.access, lender=place)
            block = open_transaction(self._runner, self._caller, timeout, access=access)
            try:
                self._transaction = await block.__aenter__()
                self._block = block
            finally:
                self._await_use()

    async def commit(self) -> None:
        """Commit the transaction.

        Raises:
            DuckDBQueryError: none is open, or a statement of it failed.
        """
        async with self._turn:
            await self._end(None)

    async def rollback(self) -> None:
        """Roll the transaction back.

        Raises:
            DuckDBQueryError: none is open.
        """
        async with self._turn:
            await self._end(_RolledBackError())

    async def _end(self, error: Exception | None) -> None:
        block, self._block, self._transaction = self._block, None, None
        if block is None:
            raise DuckDBQueryError(
                "no transaction is open on this connection", hint="Begin one with begin()."
            )
        try:
            await block.__aexit__(None if error is None else type(error), error, None)
        finally:
            self._await_use()

    async def _used(self, timeout: float | None) -> LentPlace:
        """Return the place, which is taken again if it was taken back."""
        if self._timer is not None:
            self._timer.cancel()
        if self._is_closed:
            raise ServiceUnavailableError(
                "this connection was returned, or the service was shut down",
                hint="Take a new one with get_connection(), and keep it until the last use.",
            )
        if self._place is None:
            await self.open(self._runner.settings.statement_timeout if timeout is None else timeout)
        assert self._place is not None  # noqa: S101 - open() sets it or raises
        return self._place

    def _await_use(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._is_closed:
            self._give_up()
            return
        seconds = self._runner.settings.max_statement_timeout
        self._timer = asyncio.get_running_loop().call_later(seconds, self._take_back)

    def _take_back(self) -> None:
        # The deadline of an open transaction is no later: it has been rolled back.
        if not self._turn.locked() and self._transaction is None:
            self._give_up()
        elif not self._turn.locked():
            self._roll_back_later()

    def leave_engine(self) -> None:
        """Close the connection unless a statement runs on it: its instance is to be closed."""
        if self._place is not None:
            self._place.leave_engine()

    def close(self) -> None:
        """Give the connection back: now, or when its statement or transaction has ended. Idempotent."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._transaction is not None:
            self._roll_back_later()
        elif not self._turn.locked():
            self._give_up()

    def _roll_back_later(self) -> None:
        async def roll_back() -> None:
            async with self._turn:
                if self._transaction is not None:
                    await self._end(_RolledBackError())
                self._give_up()

        if self._ending is None or self._ending.done():
            self._ending = asyncio.create_task(roll_back())

    def _give_up(self) -> None:
        self._runner.loans.discard(self)
        place, self._place = self._place, None
        if place is not None:
            place.give_up()
