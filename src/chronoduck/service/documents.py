"""Rows of a SELECT as JSON documents, by the rules of any reader, for work that goes on without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from chronoduck.engine.database import Connection
from chronoduck.engine.encoding import (
    EncodingOptions,
    ResultEncoder,
    ResultFormat,
    ResultSchema,
    open_encoder,
)
from chronoduck.engine.execution import RunningResult
from chronoduck.engine.tables_like_files import check_tables
from chronoduck.errors import InvalidRequestError
from chronoduck.service.jobs import Progress
from chronoduck.service.records import Caller
from chronoduck.service.runner import StatementRunner
from chronoduck.service.scan_limit import check_scan
from chronoduck.service.session import Session
from chronoduck.service.statement_jobs import watching
from chronoduck.sql.judged_text import JudgedText, inside
from chronoduck.sql.statements import Statement

__all__ = ["DocumentQueries"]

_OPTIONS = EncodingOptions(json_numbers="safe")
Wrap = Callable[[Sequence[tuple[str, str]]], tuple[str, str]]
"""Returns what stands before and behind a SELECT in brackets, for its columns' names and types."""
Take = Callable[[pa.RecordBatch, bytes], None]
"""Gets the columns that are not of the document, and the documents, one a line."""


class DocumentQueries:
    """Runs SELECTs for exports."""

    def __init__(self, runner: StatementRunner) -> None:
        self._runner = runner

    async def read(
        self,
        sql: str,
        wrap: Wrap,
        take: Take,
        *,
        apart: int,
        params: dict[str, Any] | None,
        caller: Caller,
        show: Progress,
    ) -> None:
        """Run the statement that ``wrap`` makes of a SELECT; ``take`` is called in a worker thread.

        The first ``apart`` columns are handed over as they are. The SELECT itself is judged as its
        caller's; what is around it is this process's own. All rows are of one moment.

        Raises:
            DuckDBQueryError: it is not one valid statement, or the caller may not run it.
            InvalidRequestError: it is not a SELECT.
        """
        statement = await self._runner.parse(sql, caller)
        if not statement.is_read_only or statement.kind != "select" or statement.parameter_names:
            raise InvalidRequestError(
                f"an export is of a SELECT without parameters, not of {statement.kind}",
                hint="Mend the query of the export.",
            )
        opened = self._runner.open(statement, caller, is_job=True)
        session: Session = opened.session

        def step(connection: Connection) -> None:
            check_scan(connection, statement, None, session)
            check_tables(connection, statement.tables_like_files)
            columns = _columns(connection, statement, session)
            text = inside(statement.judged, *wrap(columns))
            _read(connection, text, params, session, take, apart, statement.tables_like_files)

        try:
            with watching(show) as watch:
                watch(session)
                await session.run(step)
        except BaseException as error:
            opened.end(error)
            raise
        opened.end(None)


def _columns(
    connection: Connection, statement: Statement, session: Session
) -> list[tuple[str, str]]:
    text = inside(statement.judged, "SELECT * FROM", "AS q LIMIT 0")
    none = RunningResult(connection, text, None, session.token)
    none.fetch("all")
    return list(zip(none.columns, none.types, strict=True))


def _read(
    connection: Connection,
    sql: JudgedText,
    params: dict[str, Any] | None,
    session: Session,
    take: Take,
    apart: int,
    tables_like_files: Sequence[tuple[str, ...]],
) -> None:
    batch_rows = ResultFormat.NDJSON.batch_rows
    result = RunningResult(
        connection,
        sql,
        params,
        session.token,
        as_rows=False,
        in_read_only_transaction=bool(tables_like_files),
        batch_rows=batch_rows,
        tables_like_files=tables_like_files,
    )
    schema = result.arrow_schema
    encoder: ResultEncoder | None = None
    if len(result.columns) > apart:
        fields = pa.schema(list(schema)[apart:])
        encoder = open_encoder(
            ResultFormat.NDJSON,
            ResultSchema.of(result.columns[apart:], result.column_types[apart:], fields),
            "",
            _OPTIONS,
            session.token.check,
        )
    while (batch := result.next_batch()) is not None:
        session.token.check()
        rest = batch.select(range(apart, batch.num_columns))
        lines = b"" if encoder is None else encoder.rows(rest)
        take(batch.select(range(min(apart, batch.num_columns))), lines)
        session.running.rows += batch.num_rows
        session.running.bytes += len(lines)
    session.running.memory_mb = result.finish()
