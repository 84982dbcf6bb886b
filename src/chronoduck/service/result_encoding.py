"""One result into the bytes of a format, batch by batch, in worker threads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

from chronoduck.engine.database import Connection
from chronoduck.engine.encoding import (
    EncodingOptions,
    ResultEncoder,
    ResultFormat,
    ResultSchema,
    ResultSummary,
    open_encoder,
)
from chronoduck.engine.execution import Params
from chronoduck.errors import DuckDBException
from chronoduck.service.opened_result import Result, open_result
from chronoduck.service.result_caps import ResultCap, lesser
from chronoduck.service.scan_limit import check_scan
from chronoduck.service.session import Session
from chronoduck.sql.guard import Origin
from chronoduck.sql.statements import Statement

__all__ = ["ResultEncoding", "ResultRequest", "Sink"]

_HELD_BYTES = 4_000_000
"""A result up to this size is answered whole: with its length, and with its truncation known."""


@dataclass(frozen=True)
class ResultRequest:
    """What a caller wants of one statement.

    ``whole``: nothing may be sent before the last row is known, whatever the size; the result then
    waits in a spool file. ``origin``: whose text it is, the caller's or the operator's.
    ``is_own_text``: the service's, which reads the result of a job; it runs on the caller's account,
    and is not judged. ``only_reads``: anything but a read is refused, and a transaction holds it to that.
    """

    sql: str
    params: Params
    format: ResultFormat
    options: EncodingOptions
    max_rows: int | None = None
    timeout: float | None = None
    whole: bool = False
    origin: Origin = "user"
    is_own_text: bool = False
    only_reads: bool = False


class Sink(Protocol):
    """A file to write a result to."""

    def write(self, data: bytes, /) -> int: ...


class ResultEncoding:
    """The work on one result in worker threads: read a batch, encode it, count."""

    def __init__(self, request: ResultRequest, statement: Statement, session: Session) -> None:
        self._request = request
        self._statement = statement
        self._session = session
        self._result: Result | None = None
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
        result = self._result = open_result(
            connection,
            self._statement,
            request.params,
            self._session,
            as_rows=False,
            batch_rows=request.format.batch_rows,
        )
        self._session.attach(result)
        schema = ResultSchema.of(result.columns, result.column_types, result.arrow_schema)
        encoder = self._encoder = open_encoder(
            request.format,
            schema,
            self._statement.query_hash,
            request.options,
            self._session.token.check,
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
