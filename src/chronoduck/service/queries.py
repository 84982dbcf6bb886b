"""Statements in Python values or Arrow batches: one, or a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pyarrow as pa

from chronoduck.engine.database import Connection
from chronoduck.engine.execution import FetchMode, Params
from chronoduck.errors import InvalidRequestError, LimitExceededError
from chronoduck.service.engine_access import EngineAccess
from chronoduck.service.opened_result import Result, open_result
from chronoduck.service.records import Caller
from chronoduck.service.result_caps import lesser
from chronoduck.service.results import QueryResult
from chronoduck.service.runner import StatementRunner
from chronoduck.service.scan_limit import check_scan
from chronoduck.service.session import Session
from chronoduck.sql.statements import Statement

__all__ = ["MANY_ROWS", "Queries", "run_and_fetch"]

MANY_ROWS = 1_000
"""Rows of ``fetch_mode="many"`` when the caller names no number."""


def run_and_fetch(
    connection: Connection,
    statement: Statement,
    params: Params,
    session: Session,
    fetch_mode: FetchMode = "all",
    max_rows: int | None = None,
) -> QueryResult:
    """Run one statement on the connection and return its result; for a worker thread."""
    if fetch_mode == "many" and max_rows is None:
        max_rows = MANY_ROWS
    if not session.is_own_text:
        max_rows = lesser(max_rows, session.limits.max_rows)
    check_scan(connection, statement, params, session)
    result = open_result(connection, statement, params, session, as_rows=True)
    rows, truncated = result.fetch(fetch_mode, max_rows)
    running = session.running
    running.rows += len(rows)
    running.memory_mb = max(running.memory_mb, result.finish())
    return QueryResult(
        data=rows,
        columns=list(result.columns),
        types=list(result.types),
        row_count=len(rows),
        truncated=truncated,
        execution_time=round(result.engine_seconds, 6),
        memory_usage=running.memory_mb,
        query_hash=statement.query_hash,
    )


class Queries:
    """Runs statements for callers of the Python API and for the small results of the others."""

    def __init__(self, runner: StatementRunner) -> None:
        self._runner = runner

    async def execute(
        self,
        sql: str,
        params: Params = None,
        *,
        fetch_mode: FetchMode = "all",
        max_rows: int | None = None,
        timeout: float | None = None,
        caller: Caller | None = None,
        is_own_text: bool = False,
        access: EngineAccess | None = None,
    ) -> QueryResult:
        """Run one statement and return its rows as tuples.

        ``is_own_text``: the service wrote it to answer the caller, on whose account it runs.
        ``access``: of a borrowed connection that it is run on.
        """
        if fetch_mode not in ("all", "one", "many", "none"):
            raise InvalidRequestError(
                f"fetch_mode is {fetch_mode!r}; it must be all, one, many or none"
            )
        caller = caller or Caller()
        if is_own_text:
            statement = self._runner.parse_own(sql)
        else:
            statement = await self._runner.parse(sql, caller)
        async with self._runner.session(
            statement, caller, timeout, is_own_text=is_own_text, access=access
        ) as session:
            result = await session.run(
                self._runner.routed(
                    statement,
                    lambda connection: run_and_fetch(
                        connection, statement, params, session, fetch_mode, max_rows
                    ),
                )
            )
            if fetch_mode in ("all", "many") and not (statement.leaves_state or result.truncated):
                session.mark_clean()
            return result

    async def stream(
        self,
        sql: str,
        params: Params = None,
        *,
        timeout: float | None = None,
        caller: Caller | None = None,
    ) -> AsyncGenerator[pa.RecordBatch, None]:
        """Yield the result as Arrow batches; memory stays flat whatever the size.

        The deadline covers the whole stream, the reader's own time included. Leaving the loop early
        interrupts the statement.

        Raises:
            LimitExceededError: after the last batch that the caller's principal may have.
        """
        caller = caller or Caller()
        statement = await self._runner.parse(sql, caller)
        async with self._runner.session(statement, caller, timeout) as session:

            def begin(connection: Connection) -> Result:
                check_scan(connection, statement, params, session)
                return open_result(connection, statement, params, session, as_rows=False)

            result = await session.run(self._runner.routed(statement, begin))
            session.attach(result)
            size_bytes = 0
            session.hold()
            while True:
                batch = await session.run(lambda _: result.next_batch())
                if batch is None:
                    break
                session.running.rows += batch.num_rows
                size_bytes += batch.nbytes
                _refuse_beyond(session, size_bytes)
                yield batch
            session.running.memory_mb = await session.run(lambda _: result.finish())


def _refuse_beyond(session: Session, size_bytes: int) -> None:
    """Break a stream off before the batch that passes a limit: batches have no way to say it."""
    limits, rows = session.limits, session.running.rows
    if limits.max_rows is not None and rows > limits.max_rows:
        raise LimitExceededError(
            f"the result has more than {limits.max_rows:,} rows, which is all that this principal "
            "may have of one",
            hint="Narrow the statement, or have max_rows raised.",
        )
    if limits.max_result_bytes is not None and size_bytes > limits.max_result_bytes:
        raise LimitExceededError(
            f"the result has more than {limits.max_result_bytes:,} bytes, which is all that this "
            "principal may have of one",
            hint="Narrow the statement, or have max_result_bytes raised.",
        )
