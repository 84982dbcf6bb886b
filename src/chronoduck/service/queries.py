"""Statements in Python values or Arrow batches: one, or a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pyarrow as pa

from chronoduck.engine.database import Connection
from chronoduck.engine.execution import FetchMode, Params, RunningResult
from chronoduck.engine.statements import Statement
from chronoduck.errors import InvalidRequestError
from chronoduck.service.records import Caller
from chronoduck.service.results import QueryResult
from chronoduck.service.runner import StatementRunner
from chronoduck.service.session import Session

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
    result = RunningResult(
        connection,
        statement.text,
        params,
        session.token,
        is_read_only=statement.is_read_only,
        in_read_only_transaction=statement.in_read_only_transaction,
    )
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
    ) -> QueryResult:
        """Run one statement and return its rows as tuples."""
        if fetch_mode not in ("all", "one", "many", "none"):
            raise InvalidRequestError(
                f"fetch_mode is {fetch_mode!r}; it must be all, one, many or none"
            )
        caller = caller or Caller()
        statement = self._runner.parse(sql, caller)
        async with self._runner.session(statement, caller, timeout) as session:
            result = await session.run(
                lambda connection: run_and_fetch(
                    connection, statement, params, session, fetch_mode, max_rows
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
        """
        caller = caller or Caller()
        statement = self._runner.parse(sql, caller)
        async with self._runner.session(statement, caller, timeout) as session:
            result = await session.run(
                lambda connection: RunningResult(
                    connection,
                    sql,
                    params,
                    session.token,
                    is_read_only=statement.is_read_only,
                    in_read_only_transaction=statement.in_read_only_transaction,
                )
            )
            session.attach(result)
            session.hold()
            while True:
                batch = await session.run(lambda _: result.next_batch())
                if batch is None:
                    break
                session.running.rows += batch.num_rows
                yield batch
            session.running.memory_mb = await session.run(lambda _: result.finish())
