"""Group commit: the small bodies that come at the same time, in a transaction for each table and sender.

A commit costs a write to the disk and several milliseconds; many requests share it. Nobody waits for
company: while one group is written the next one gathers. Nobody shares one with another principal:
what the rows of one do (a CHECK that takes long) is run on its account and within its share.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from chronoduck.errors import (
    DuckDBException,
    DuckDBQueryError,
    LoadError,
    QueueFullError,
    ServiceUnavailableError,
    StatementCancelledError,
    StatementTimeoutError,
    TransactionConflictError,
    WriteOutcomeUnknownError,
)
from chronoduck.transfer.events import LoadSummary, answer_of
from chronoduck.transfer.exact_values import checked_select, text_conversion, text_type
from chronoduck.transfer.idempotency import IdempotencyKeys, RequestKey
from chronoduck.transfer.small_rows import SmallRows
from chronoduck.transfer.sql import SqlSession, Transact, quote_name, quote_table
from chronoduck.transfer.table_columns import TableColumn, match_columns
from chronoduck.transfer.value_checks import check_target

__all__ = ["GroupCommit", "NotGroupedError", "Sender"]

_MAX_GROUP_REQUESTS = 1_000
_MAX_GROUP_BYTES = 4_000_000
_Place = tuple[str, str]
"""A table, and the party whose rows go into it."""
_ENDING = "the service is shutting down"
_NOT_THE_ROWS = (StatementTimeoutError, StatementCancelledError, TransactionConflictError)


class NotGroupedError(Exception):
    """The rows did not go in as they are: what they are is for the loader of files to say."""


@dataclass(frozen=True)
class Sender:
    """Whose rows they are: those of one party are committed together, by its own transactions."""

    party: str
    transact: Transact


@dataclass
class _Waiting:
    transact: Transact
    rows: SmallRows
    format: str
    request: RequestKey | None
    done: asyncio.Future[LoadSummary]
    since: float


class GroupCommit:
    """Appends small bodies, each acknowledged when its transaction is committed.

    Use from one event loop. ``limit``: requests that wait or are written at the same time.
    """

    def __init__(self, limit: int, keys: IdempotencyKeys) -> None:
        self._limit = limit
        self._keys = keys
        self._waiting: dict[_Place, deque[_Waiting]] = defaultdict(deque)
        self._tasks: dict[_Place, asyncio.Task[None]] = {}
        self._count = 0
        self._is_closed = False
        self.groups = 0
        """Transactions committed."""
        self.requests = 0
        """Requests in them."""

    async def append(
        self,
        sender: Sender,
        table: str,
        rows: SmallRows,
        format_: str,
        request: RequestKey | None = None,
    ) -> LoadSummary:
        """Return when the rows are committed; those of a caller that leaves before are left out.

        When all whose rows a transaction carries have left, it is interrupted.

        Raises:
            NotGroupedError: they do not go in as they are; nothing of them was kept.
            QueueFullError: too many wait.
            DuckDBException: the transaction failed whatever its rows are.
        """
        if self._is_closed:
            raise ServiceUnavailableError(_ENDING)
        if self._count >= self._limit:
            raise QueueFullError(
                f"{self._count} small loads wait already",
                hint="Send more rows in each; DUCKDB_INGEST_QUEUE sets the limit.",
            )
        done: asyncio.Future[LoadSummary] = asyncio.get_running_loop().create_future()
        place = (table, sender.party)
        self._waiting[place].append(
            _Waiting(sender.transact, rows, format_, request, done, time.perf_counter())
        )
        self._count += 1
        if place not in self._tasks:
            self._tasks[place] = asyncio.create_task(self._write(place))
        try:
            return await done
        finally:
            self._count -= 1

    async def close(self) -> None:
        """Refuse those that wait; what is being written has been awaited by its callers or is lost."""
        self._is_closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- groups -------------------------------------------------------------------------------

    async def _write(self, place: _Place) -> None:
        """Write groups until nobody waits."""
        group: list[_Waiting] = []
        try:
            while self._waiting[place]:
                await asyncio.sleep(0)  # those that are being received in this round come along
                group = self._take(place)
                await self._write_group(place[0], group)
        finally:
            del self._tasks[place]
            for left in group:
                if not left.done.done():
                    left.done.set_exception(_broken_off(left.request))
            _fail(self._waiting.pop(place, ()), ServiceUnavailableError(_ENDING))

    def _take(self, place: _Place) -> list[_Waiting]:
        waiting, size = self._waiting[place], 0
        group: list[_Waiting] = []
        while waiting and len(group) < _MAX_GROUP_REQUESTS and size < _MAX_GROUP_BYTES:
            first = waiting.popleft()
            if not first.done.done():  # else its caller has left
                group.append(first)
                size += first.rows.size
        return group

    async def _write_group(self, table: str, group: list[_Waiting]) -> None:
        """Write a group; one that fails is halved until the bad request is alone."""
        group = [waiting for waiting in group if not waiting.done.done()]
        if not group:
            return
        try:
            results = await _while_wanted(
                group, lambda session: _add(session, table, group, self._keys)
            )
        except (DuckDBQueryError, LoadError) as error:
            if isinstance(error, _NOT_THE_ROWS):
                _fail(group, error)
            elif len(group) == 1:
                _fail(group, NotGroupedError())
            else:
                middle = len(group) // 2
                await self._write_group(table, group[:middle])
                await self._write_group(table, group[middle:])
        except DuckDBException as error:
            _fail(group, error)
        else:
            if results is None:
                return
            self.groups += 1
            self.requests += len(group)
            for waiting, result in zip(group, results, strict=True):
                if not waiting.done.done():
                    waiting.done.set_result(result)


async def _while_wanted(
    group: Sequence[_Waiting], work: Callable[[SqlSession], list[LoadSummary]]
) -> list[LoadSummary] | None:
    """Run the work of a group; break it off, and return None, when all its callers have left."""
    writing = asyncio.ensure_future(group[-1].transact(work))
    present = len(group)

    def note_settled(_: asyncio.Future[LoadSummary]) -> None:
        nonlocal present
        present -= 1
        if not present:
            writing.cancel()

    for waiting in group:
        waiting.done.add_done_callback(note_settled)
    try:
        await asyncio.wait((writing,))
    except asyncio.CancelledError:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        raise
    if not writing.cancelled():
        return writing.result()
    for waiting in group:
        if not waiting.done.done():
            waiting.done.set_exception(_broken_off(waiting.request))
    return None


def _broken_off(request: RequestKey | None) -> DuckDBException:
    """Return the error of rows whose transaction may be on its way to its COMMIT."""
    if request is not None:  # sent again, it is done once
        return ServiceUnavailableError(_ENDING)
    return WriteOutcomeUnknownError(
        "the service shut down while these rows were written; they may or may not be there"
    )


def _fail(group: Iterable[_Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.done.done():
            waiting.done.set_exception(copy.copy(error))


def _add(
    session: SqlSession, table: str, group: Sequence[_Waiting], keys: IdempotencyKeys
) -> list[LoadSummary]:
    """Insert the rows of all, and keep the answers of those that have keys."""
    database = str(session.execute("SELECT current_database()")[0][0])
    quoted = quote_table(table, database)
    columns = _columns(session, quoted)
    check_target(columns, table)
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for waiting in group:
        alike[waiting.rows.names].extend(waiting.rows.documents)
    for names, documents in alike.items():
        statement = _insert(quoted, names, columns, table)
        session.execute(statement, {"rows": f"[{','.join(documents)}]"})
    now = time.perf_counter()
    types = {column.name: column.type for column in columns}
    summaries = [_summary(waiting, table, now, types) for waiting in group]
    answers = [
        (waiting.request, answer_of((), summary))
        for waiting, summary in zip(group, summaries, strict=True)
        if waiting.request is not None
    ]
    if answers:
        keys.keep(session, answers)
    return summaries


def _columns(session: SqlSession, quoted: str) -> list[TableColumn]:
    rows: list[Any] = session.execute(
        'SELECT column_name, column_type, "null" = \'YES\', "default" IS NOT NULL '
        f"FROM (DESCRIBE {quoted})"
    )
    return [TableColumn(*row) for row in rows]


def _insert(quoted: str, names: Sequence[str], columns: Sequence[TableColumn], table: str) -> str:
    filled = match_columns(names, columns, table, "the body")
    fields = ", ".join(
        f"{quote_name(each.source)} {text_type(each.column.type)}" for each in filled
    )
    conversions = [
        text_conversion(each.column.type, f"r.{quote_name(each.source)}") for each in filled
    ]
    listed = ", ".join(quote_name(each.column.name) for each in filled)
    relation = f"(SELECT unnest(CAST($rows::JSON AS STRUCT({fields})[])) AS r)"
    rows = checked_select(relation, conversions, [each.column.name for each in filled])
    return f"INSERT INTO {quoted} ({listed}) {rows}"


def _summary(waiting: _Waiting, table: str, now: float, types: dict[str, str]) -> LoadSummary:
    return LoadSummary(
        bytes_read=waiting.rows.size,
        lines=0,
        rows_added=len(waiting.rows.documents),
        duplicates=0,
        rejected=0,
        seconds=round(now - waiting.since, 3),
        table=table,
        format=waiting.format,
        columns=types,
    )
