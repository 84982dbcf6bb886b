"""Statements into the bytes of a format: at once when small, as a stream when large."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from chronoduck.engine.database import Connection
from chronoduck.engine.encoding import EncodingOptions, ResultFormat
from chronoduck.engine.execution import Params
from chronoduck.errors import DuckDBException, StatementCancelledError, StatementRefusedError
from chronoduck.principals import Limits, Role
from chronoduck.resilience.space_budget import SpaceBudget
from chronoduck.resilience.thread_handover import closed_in_thread
from chronoduck.service.batch import Query, run_batch
from chronoduck.service.open_statement import OpenStatement
from chronoduck.service.records import Caller, RunningStatement
from chronoduck.service.result_encoding import ResultEncoding, ResultRequest, Sink
from chronoduck.service.runner import StatementRunner
from chronoduck.service.session import Session
from chronoduck.sql.statements import Statement
from chronoduck.storage.counted_file import ResultSpool

__all__ = ["ByteStream", "EncodedQueries", "EncodedResult"]

_SPOOL_CHUNK_BYTES = 1_000_000


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


class EncodedQueries:
    """Runs statements for callers that want bytes."""

    def __init__(self, runner: StatementRunner, spool_directory: Path, space: SpaceBudget) -> None:
        """``space``: what results that wait for their end may take of the spool directory's volume."""
        self._runner = runner
        self._spool_directory = spool_directory
        self._space = space

    async def run(self, request: ResultRequest, caller: Caller) -> EncodedResult:
        """Run the statement and return its bytes, or their beginning and the stream of the rest.

        Errors before the first byte are raised here. One later breaks the stream so that the
        reader notices: NDJSON ends with a line that says so, the others are cut before their end.
        """
        statement = await self.parse(request, caller)
        opened = self._runner.open(
            statement, caller, request.timeout, is_own_text=request.is_own_text
        )
        request = _held_to(request, opened.account.limits)
        encoding = ResultEncoding(request, statement, opened.session)
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
        if request.is_own_text:
            return replace(self._runner.parse_own(request.sql), reads_results=True)
        statement = await self._runner.parse(request.sql, caller, request.origin)
        if not request.only_reads:
            return statement
        if not statement.is_read_only:
            refusal = StatementRefusedError(
                f"this request only reads, and the statement is a {statement.kind.upper()}",
                hint="Send it to POST query.",
            )
            self._runner.record_refusal(statement, caller, refusal)
            raise refusal
        return replace(statement, in_read_only_transaction=True)

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
        encoding = ResultEncoding(request, statement, opened.session)
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
            return ResultEncoding(request, statement, session).whole(connection)

        return await run_batch(
            self._runner,
            queries,
            encode_one,
            use_transaction=use_transaction,
            timeout=timeout,
            caller=caller,
        )

    async def _spooled(
        self, encoding: ResultEncoding, opened: OpenStatement, statement: Statement
    ) -> EncodedResult:
        principal = opened.account.principal
        claim = self._space.claim(principal.id, is_capped=principal.role is not Role.ADMIN)
        spool = ResultSpool(self._spool_directory, claim)
        try:
            await opened.session.run(
                self._runner.routed(statement, lambda connection: encoding.begin(connection, spool))
            )
            _finish(encoding, opened, statement)
            spool.rewind()
        except BaseException:
            await _close(spool)
            raise
        return EncodedResult(
            encoding.media_type,
            b"",
            encoding.truncated,
            opened.session.running,
            _FileStream(spool),
            spool.length,
        )


def _held_to(request: ResultRequest, limits: Limits) -> ResultRequest:
    """Have a result that may be cut short wait for its end where only a header can tell of it."""
    if limits.max_rows is None and limits.max_result_bytes is None:
        return request
    return replace(request, whole=request.whole or not request.format.flags_truncation)


def _finish(encoding: ResultEncoding, opened: OpenStatement, statement: Statement) -> None:
    if not statement.leaves_state and not encoding.truncated:
        opened.session.mark_clean()
    opened.end(None)


class _EngineStream:
    """The rest of a result: the next piece is encoded while the reader takes this one."""

    def __init__(
        self, encoding: ResultEncoding, opened: OpenStatement, statement: Statement
    ) -> None:
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


async def _close(spool: ResultSpool) -> None:
    """Close it; the space of a large one is given back when its file is gone, which may take a while."""
    if spool.is_in_memory:
        spool.close()
    else:
        await closed_in_thread(spool.close)


class _FileStream:
    """A spooled result. One that is in memory needs no thread."""

    def __init__(self, file: ResultSpool) -> None:
        self._file = file

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._file.is_in_memory:
            chunk = self._file.read(_SPOOL_CHUNK_BYTES)
        else:
            chunk = await asyncio.to_thread(self._file.read, _SPOOL_CHUNK_BYTES)
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Close the file, which removes it."""
        await _close(self._file)
