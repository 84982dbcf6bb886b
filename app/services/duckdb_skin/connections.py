"""Connections and transactions whose statements can be awaited, or waited for in a thread."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Generator
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from chronoduck.engine.execution import FetchMode, Params
from chronoduck.errors import DuckDBQueryError
from chronoduck.service.lending import Loan
from chronoduck.service.results import QueryResult as ServiceResult
from chronoduck.service.transactions import Transaction

from .event_loop import LoopDoor
from .values import QueryResult

__all__ = ["Execution", "LentConnection", "SharedTransaction", "shared_transaction"]

Row = tuple[Any, ...]
_ENDS_TRANSACTION = {
    "commit": "commit",
    "end": "commit",
    "rollback": "rollback",
    "abort": "rollback",
}
_BEGINS_TRANSACTION = frozenset({"begin", "start"})


class Execution:
    """A statement that was sent: await its ``QueryResult``, or fetch its rows.

    The fetching methods wait for the statement's end, and raise what it raised.
    """

    def __init__(
        self, door: LoopDoor, future: Future[ServiceResult], fetch_mode: FetchMode = "all"
    ) -> None:
        self._door = door
        self._future = future
        self._fetch_mode = fetch_mode
        self._next = 0

    def __await__(self) -> Generator[Any, None, QueryResult]:
        result = yield from asyncio.wrap_future(self._future).__await__()
        return QueryResult.of(result, self._fetch_mode)

    def wait(self) -> ServiceResult:
        """Wait for the statement's end and return its result.

        Raises:
            DuckDBException: it failed, or it would wait for the loop that it is called on.
        """
        return self._door.result(self._future)

    def fetchmany(self, size: int = 1) -> list[Row]:
        """Return the next rows, at most so many."""
        rows = self.wait().data[self._next : self._next + size]
        self._next += len(rows)
        return rows

    def fetchone(self) -> Row | None:
        """Return the next row, None after the last one."""
        rows = self.fetchmany()
        return rows[0] if rows else None

    def fetchall(self) -> list[Row]:
        """Return the rows that were not fetched yet."""
        return self.fetchmany(len(self.wait().data))

    @property
    def description(self) -> list[tuple[Any, ...]]:
        """Names and DuckDB's types of the columns, as DB-API has them."""
        result = self.wait()
        pairs = zip(result.columns, result.types, strict=True)
        return [(name, kind, None, None, None, None, None) for name, kind in pairs]


class LentConnection:
    """A connection of the pool that is the borrower's until it is returned. Use it from any thread.

    ``execute`` waits for the statement, wherever it is called; on an event loop it blocks that loop.
    A borrower that forgets it gives it back with its last reference to it, or by not using it.
    """

    def __init__(self, door: LoopDoor, loan: Loan) -> None:
        self._door = door
        self._loan = loan
        self._last: Execution | None = None
        self._give_back = weakref.finalize(self, door.call_soon, loan.close)
        self._give_back.atexit = False

    def execute(self, sql: str, params: Params = None) -> Execution:
        """Run one statement and return its rows; BEGIN, COMMIT and ROLLBACK work here too.

        Raises:
            DuckDBException: it failed.
        """
        execution = Execution(self._door, self._door.submit(self._run(sql, params)))
        execution.wait()
        self._last = execution
        return execution

    async def _run(self, sql: str, params: Params) -> ServiceResult:
        word = _transaction_word(sql)
        if word is None:
            return await self._loan.execute(sql, params)
        if word in _BEGINS_TRANSACTION:
            await self._loan.begin()
        elif _ENDS_TRANSACTION[word] == "commit":
            await self._loan.commit()
        else:
            await self._loan.rollback()
        return ServiceResult([], [], 0, 0.0, 0.0, "", [])

    def begin(self) -> None:
        """Begin a transaction."""
        self._door.result(self._door.submit(self._loan.begin()))

    def commit(self) -> None:
        """Commit the transaction."""
        self._door.result(self._door.submit(self._loan.commit()))

    def rollback(self) -> None:
        """Roll the transaction back."""
        self._door.result(self._door.submit(self._loan.rollback()))

    def fetchone(self) -> Row | None:
        """Return the next row of the last statement."""
        return self._latest().fetchone()

    def fetchmany(self, size: int = 1) -> list[Row]:
        """Return the next rows of the last statement, at most so many."""
        return self._latest().fetchmany(size)

    def fetchall(self) -> list[Row]:
        """Return the rows of the last statement that were not fetched yet."""
        return self._latest().fetchall()

    @property
    def description(self) -> list[tuple[Any, ...]]:
        """The columns of the last statement."""
        return self._latest().description

    def _latest(self) -> Execution:
        if self._last is None:
            raise DuckDBQueryError("nothing was run on this connection", hint="Call execute().")
        return self._last

    def close(self) -> None:
        """Return the connection; an open transaction is rolled back. Idempotent."""
        if self._give_back.detach() is not None and not self._door.loop.is_closed():
            self._door.call(self._loan.close)


class SharedTransaction:
    """An open transaction: its statements run in the order of the calls, from tasks and threads.

    On an event loop ``execute`` only sends the statement: await it, or fetch from it. In any other
    thread it waits.
    """

    def __init__(self, door: LoopDoor, transaction: Transaction) -> None:
        self._door = door
        self._transaction = transaction
        self._turn = asyncio.Lock()

    def execute(self, sql: str, params: Params = None, fetch_mode: FetchMode = "all") -> Execution:
        """Run one statement inside the transaction.

        Raises:
            DuckDBException: it failed; the whole transaction is lost.
        """
        execution = Execution(
            self._door, self._door.submit(self._run(sql, params, fetch_mode)), fetch_mode
        )
        if not _is_on_event_loop():
            execution.wait()
        return execution

    async def _run(self, sql: str, params: Params, fetch_mode: FetchMode) -> ServiceResult:
        async with self._turn:
            return await self._transaction.execute(sql, params, fetch_mode)

    async def settle(self) -> None:
        """Wait for the statements that were sent; call it on the service's loop."""
        async with self._turn:
            pass


@asynccontextmanager
async def shared_transaction(
    door: LoopDoor, block: AbstractAsyncContextManager[Transaction]
) -> AsyncIterator[SharedTransaction]:
    """Hold the block open in one task of the service's loop, for the code of another."""
    begun: Future[Transaction] = Future()
    ending: Future[BaseException | None] = Future()

    async def host() -> None:
        async with block as opened:
            begun.set_result(opened)  # raises, and rolls back, if nobody waits any more
            error = await asyncio.wrap_future(ending)
            if error is not None:
                raise error

    def tell(done: Future[None]) -> None:
        if not begun.done():
            begun.set_exception(CancelledError() if done.cancelled() else done.exception())

    hosting = door.submit(host())
    hosting.add_done_callback(tell)
    try:
        shared = SharedTransaction(door, await asyncio.wrap_future(begun))
        yield shared
        await asyncio.wrap_future(door.submit(shared.settle()))
    except BaseException as error:
        ending.set_result(error)
        if begun.cancelled():
            hosting.cancel()  # it may still wait for a connection
        with suppress(BaseException):
            await asyncio.wrap_future(hosting)
        raise
    ending.set_result(None)
    await asyncio.wrap_future(hosting)


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _transaction_word(sql: str) -> str | None:
    """Return the first word of a text that only begins or ends a transaction, else None."""
    words = sql.strip().rstrip(";").lower().split()
    first = words[0] if words else ""
    known = first in _BEGINS_TRANSACTION or first in _ENDS_TRANSACTION
    return first if known and words[1:] in ([], ["transaction"], ["work"]) else None
