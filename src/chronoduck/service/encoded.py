"""Statements into the bytes of a format: at once when small, as a stream when large."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Protocol

from chronoduck.engine.database import Connection
from chronoduck.engine.encoding import (
    EncodingOptions,
    ResultEncoder,
    ResultFormat,
    ResultSchema,
    ResultSummary,
    open_encoder,
)
from chronoduck.engine.execution import Params, RunningResult
from chronoduck.engine.guard.judge import Origin
from chronoduck.engine.statements import Statement
from chronoduck.errors import DuckDBException, StatementCancelledError
from chronoduck.principals import Limits
from chronoduck.service.batch import Query, run_batch
from chronoduck.service.records import Caller, RunningStatement
from chronoduck.service.result_caps import ResultCap, lesser
from chronoduck.service.runner import OpenStatement, StatementRunner
from chronoduck.service.scan_limit import check_scan
from chronoduck.service.session import Session

__all__ = ["ByteStream", "EncodedQueries", "EncodedResult", "ResultRequest", "Sink"]

_HELD_BYTES = 4_000_000
"""A result up to this size is answered whole: with its length, and with its truncation known."""
_SPOOL_CHUNK_BYTES = 1_000_000


@dataclass(frozen=True)
class ResultRequest:
    """What a caller wants of one statement.

    ``whole``: nothing may be sent before the last row is known, whatever the size; the result then
    waits in a spool file. ``origin``: whose text it is, the caller's or the operator's.
    """

    sql: str
    params: Params
    format: ResultFormat
    options: EncodingOptions
    max_rows: int | None = None
    timeout: float | None = None
    whole: bool = False
    origin: Origin = "user"


class Sink(Protocol):
    """A file to write a result to."""

    def write(self, data: bytes, /) -> int: ...


class ByteStream(Protocol):
    """Pieces of a result. ``aclose`` must be called in every case."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def aclose(self) -> None: ...


@dataclass
class EncodedResult:
    """Bytes of a result. ``body`` is complete, or the beginning that ``rest`` goes on with.

    ``truncated`` is None while it is not known yet: the format itself tells it at the end.
    """

    media_type: str
    body: bytes
    truncated: bool | None
    running: RunningStatement
    """The times it took so far."""
    rest: ByteStream | None = None
    length: int | None = None
    """Total length in bytes, when it is known."""


class _Encoding:
    """The work on one result in worker threads: read a batch, encode it, count."""

    def __init__(self, request: ResultRequest, statement: Statement, session: Session) -> None:
        self._request = request
        self._statement = statement
        self._session = session
        self._result: RunningResult | None = None
        self._encoder: ResultEncoder | None = None
        limits = session.limits
        self._cap = ResultCap(
            lesser(request.max_rows, limits.max_rows),
            limits.max_result_bytes,
            counts_arrow=request.format is ResultFormat.PARQUET,
        )
        self._tail_sent = False
        self.truncated: bool | None = None

    @property
    def media_type(self) -> str:
        assert self._encoder is not None  # noqa: S101 - set by begin()
        return self._encoder.media_type

    @property
    def is_done(self) -> bool:
        return self._tail_sent

    def begin(self, connection: Connection, sink: Sink | None) -> bytes:
        """Execute, and encode until the end, or until enough is held; returns what is held."""
        request = self._request
        check_scan(connection, self._statement, request.params, self._session)
        result = self._result = RunningResult(
            connection,
            request.sql,
            request.params,
            self._session.token,
            is_read_only=self._statement.is_read_only,
            in_read_only_transaction=self._statement.in_read_only_transaction,
            batch_rows=request.format.batch_rows,
        )
        self._session.attach(result)
        schema = ResultSchema.of(result.columns, result.column_types, result.arrow_schema)
        encoder = self._encoder = open_encoder(
            request.format, schema, self._statement.query_hash, request.options
        )
        parts = [encoder.head()]
        held = self._cap.bytes = len(parts[0])
        self._session.running.bytes += held
        while not self._tail_sent and (sink is not None or held < _HELD_BYTES):
            piece = self.next()
            held += len(piece)
            parts.append(piece)
            if sink is not None:
                sink.write(b"".join(parts))
                parts.clear()
        return b"".join(parts)

    def whole(self, connection: Connection) -> bytes:
        """Execute and encode the result to its end; for results with a row limit."""
        parts = [self.begin(connection, None)]
        while not self._tail_sent:
            parts.append(self.next())
        return b"".join(parts)

    def next(self) -> bytes:
        """Return the bytes of the next batch, or the tail."""
        piece = self._next()
        self._session.running.bytes += len(piece)
        return piece

    def _next(self) -> bytes:
        result, encoder = self._result, self._encoder
        assert result is not None and encoder is not None  # noqa: S101, PT018 - set by begin()
        batch = None if self.truncated else result.next_batch()
        if batch is not None:
            began = time.perf_counter()
            piece = self._cap.encode(batch, encoder.rows)
            self._session.running.encode_seconds += time.perf_counter() - began
            self.truncated = self._cap.is_reached or None
            self._session.running.rows = self._cap.rows
            return piece
        self.truncated = bool(self.truncated)
        self._tail_sent = True
        running = self._session.running
        running.memory_mb = result.finish()
        return encoder.tail(
            ResultSummary(self._cap.rows, self.truncated, result.engine_seconds, running.memory_mb)
        )

    def describe(self) -> dict[str, Any]:
        """Return what there is to tell of the whole result."""
        result, running = self._result, self._session.running
        assert result is not None  # noqa: S101 - set by begin()
        return {
            "row_count": self._cap.rows,
            "truncated": bool(self.truncated),
            "bytes": running.bytes,
            "columns": list(result.columns),
            "types": list(result.types),
            "kind": running.kind,
            "query_hash": running.query_hash,
            "statement_id": running.id,
            "execution_time": round(result.engine_seconds, 6),
        }

    def failure_line(self, error: DuckDBException) -> bytes | None:
        """Return what a format says in band when its stream breaks; None: the stream is cut."""
        return None if self._encoder is None else self._encoder.failure(error.code, error.detail)


class EncodedQueries:
    """Runs statements for callers that want bytes."""

    def __init__(self, runner: StatementRunner, spool_directory: Path) -> None:
        self._runner = runner
        self._spool_directory = spool_directory

    async def run(self, request: ResultRequest, caller: Caller) -> EncodedResult:
        """Run the statement and return its bytes, or their beginning and the stream of the rest.

        Errors before the first byte are raised here. One later breaks the stream so that the
        reader notices: NDJSON ends with a line that says so, the others are cut before their end.
        """
        statement = await self._runner.parse(request.sql, caller, request.origin)
        opened = self._runner.open(statement, caller, request.timeout)
        request = _held_to(request, opened.account.limits)
        encoding = _Encoding(request, statement, opened.session)
        running = opened.session.running
        try:
            if request.whole:
                return await self._spooled(encoding, opened, statement)
            body = await opened.session.run(
                self._runner.routed(statement, lambda connection: encoding.begin(connection, None))
            )
            if encoding.is_done:
                _finish(encoding, opened, statement)
                return EncodedResult(
                    encoding.media_type, body, encoding.truncated, running, length=len(body)
                )
            opened.session.hold()
            rest = _EngineStream(encoding, opened, statement)
            return EncodedResult(encoding.media_type, body, None, running, rest)
        except BaseException as error:
            opened.end(error)
            raise

    async def parse(self, request: ResultRequest, caller: Caller) -> Statement:
        """Return the statement for `write`; a refused or wrong one is recorded.

        Raises:
            DuckDBQueryError: it is not one valid statement, or the caller may not run it.
        """
        return await self._runner.parse(request.sql, caller, request.origin)

    async def write(
        self,
        request: ResultRequest,
        statement: Statement,
        caller: Caller,
        file: Sink,
        watch: Callable[[Session], None],
    ) -> dict[str, Any]:
        """Run the statement as a job, into a file, and describe the result; ``watch`` the session."""
        opened = self._runner.open(statement, caller, request.timeout, is_job=True)
        encoding = _Encoding(request, statement, opened.session)
        try:
            watch(opened.session)
            await opened.session.run(
                self._runner.routed(statement, lambda connection: encoding.begin(connection, file))
            )
            _finish(encoding, opened, statement)
        except BaseException as error:
            opened.end(error)
            raise
        return encoding.describe()

    async def run_batch(
        self,
        queries: Sequence[Query],
        options: EncodingOptions,
        *,
        max_rows: int,
        use_transaction: bool,
        timeout: float | None,
        caller: Caller,
    ) -> list[bytes]:
        """Run statements in order and return one JSON document for each.

        Raises:
            BatchError: names the failing statement by index and text.
        """

        def encode_one(
            connection: Connection, statement: Statement, params: Params, session: Session
        ) -> bytes:
            request = ResultRequest(statement.text, params, ResultFormat.JSON, options, max_rows)
            return _Encoding(request, statement, session).whole(connection)

        return await run_batch(
            self._runner,
            queries,
            encode_one,
            use_transaction=use_transaction,
            timeout=timeout,
            caller=caller,
        )

    async def _spooled(
        self, encoding: _Encoding, opened: OpenStatement, statement: Statement
    ) -> EncodedResult:
        spool = tempfile.TemporaryFile(dir=self._spool_directory)  # noqa: SIM115 - closed by reader
        try:
            await opened.session.run(
                self._runner.routed(statement, lambda connection: encoding.begin(connection, spool))
            )
            _finish(encoding, opened, statement)
            length = spool.tell()
            spool.seek(0)
        except BaseException:
            spool.close()
            raise
        return EncodedResult(
            encoding.media_type,
            b"",
            encoding.truncated,
            opened.session.running,
            _FileStream(spool),
            length,
        )


def _held_to(request: ResultRequest, limits: Limits) -> ResultRequest:
    """Have a result that may be cut short wait for its end where only a header can tell of it."""
    if limits.max_rows is None and limits.max_result_bytes is None:
        return request
    return replace(request, whole=request.whole or not request.format.flags_truncation)


def _finish(encoding: _Encoding, opened: OpenStatement, statement: Statement) -> None:
    if not statement.leaves_state and not encoding.truncated:
        opened.session.mark_clean()
    opened.end(None)


class _EngineStream:
    """The rest of a result: the next piece is encoded while the reader takes this one."""

    def __init__(self, encoding: _Encoding, opened: OpenStatement, statement: Statement) -> None:
        self._encoding = encoding
        self._opened = opened
        self._statement = statement
        self._ahead: asyncio.Task[bytes] | None = None
        self._is_over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._is_over:
            raise StopAsyncIteration
        ahead = self._ahead or self._encode_ahead()
        self._ahead = None
        try:
            piece = await ahead
        except DuckDBException as error:
            return self._break(error)
        if self._encoding.is_done:
            self._is_over = True
            _finish(self._encoding, self._opened, self._statement)
        else:
            self._ahead = self._encode_ahead()
            await asyncio.sleep(0)  # the worker begins before the loop is busy with sending
        return piece

    def _encode_ahead(self) -> asyncio.Task[bytes]:
        step = self._opened.session.run(lambda _: self._encoding.next())
        return asyncio.get_running_loop().create_task(step)

    def _break(self, error: DuckDBException) -> bytes:
        """End the stream with the line that says so, or raise so that it is cut."""
        self._is_over = True
        self._opened.end(error)
        line = self._encoding.failure_line(error)
        if line is None:
            raise error
        return line

    async def aclose(self) -> None:
        """Interrupt what still runs and give the connection back; needed if not read to the end."""
        self._is_over = True
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.gather(self._ahead, return_exceptions=True)
        self._opened.end(StatementCancelledError("the reader left before the end of the result"))


class _FileStream:
    """A spooled result; reads come from the page cache, the file was written a moment ago."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = self._file.read(_SPOOL_CHUNK_BYTES)
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Close the file, which removes it."""
        self._file.close()
