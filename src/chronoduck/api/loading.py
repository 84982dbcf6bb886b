"""One load over HTTP: a small body is answered as a whole, any other with lines while it goes on."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from fastapi import Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from chronoduck.api.access import body_memory_of, service_of
from chronoduck.api.bodies import check_encoding, read_json_bytes
from chronoduck.api.problems import problem_fields
from chronoduck.api.uploads import Upload, format_of, key_of, spooled
from chronoduck.engine.scopes.registry import check_reader
from chronoduck.engine.write_walls import check_load, may_make
from chronoduck.errors import DuckDBException, WriteOutcomeUnknownError
from chronoduck.monitoring.audit import AuditTrail, verdict_of
from chronoduck.resilience.space_budget import SpaceClaim
from chronoduck.service.engine_turn import ON_LOOP, work_of
from chronoduck.service.records import Caller
from chronoduck.transfer import (
    FileFormat,
    LoadEvent,
    LoadMode,
    LoadOptions,
    LoadProgress,
    LoadSummary,
    RejectedLine,
)
from chronoduck.transfer.events import events_of
from chronoduck.transfer.group_commit import NotGroupedError
from chronoduck.transfer.idempotency import KeyClaim, RequestKey
from chronoduck.transfer.schema import is_captures_table
from chronoduck.transfer.small_rows import SMALL_BYTES, SmallRows, small_rows
from chronoduck.transfer.sql import split_table

__all__ = ["MEDIA_TYPE", "LoadWish", "answer_load", "is_small"]

MEDIA_TYPE = "application/x-ndjson"
_READ_CHARACTERS = 1_000
"""Of an ``Accept``."""
_ROWS = (FileFormat.NDJSON, FileFormat.JSON)
_PLAIN = LoadOptions()
_LINES_IN_TURN = 20
"""Lines until the event loop belongs to others for a turn."""
_QUICK_BYTES = 8_192
"""Bodies up to here are read on the event loop, in a millisecond at most."""


@dataclass(frozen=True)
class LoadWish:
    """What a request asks for, besides its body."""

    table: str
    source: str = "upload"
    format: FileFormat = FileFormat.AUTO
    options: LoadOptions = _PLAIN


async def answer_load(request: Request, wish: LoadWish, caller: Caller) -> Response:
    """Load the body and return the response."""
    service_of(request).penalties.check(caller)  # before a byte of the body is read
    check_encoding(request.headers.get("content-encoding", "").encode(), (b"gzip", b"zstd"))
    wish.options.check()
    wish = replace(
        wish, table=await (await service_of(request).parts()).loader.found_table(wish.table)
    )
    schema, table = split_table(wish.table)
    if not may_make(caller.principal, schema, table):
        wish = replace(wish, options=replace(wish.options, create=False))
    if not wish.options.dry_run:
        mode = wish.options.mode
        check_load(caller.principal, schema, table, only_adds=mode is LoadMode.APPEND)
    file_format = format_of(request, wish.format)
    load = _Load(request, wish, file_format, caller)
    key = key_of(request)
    if key is not None and wish.options.dry_run:
        key = None  # nothing is done that could be doubled
    if is_small(request, file_format, wish):
        return await load.answer_whole(key)
    return await load.answer_by_lines(key)


def is_small(request: Request, file_format: FileFormat, wish: LoadWish) -> bool:
    """Whether the body is one that shares a transaction with others, as far as its headers tell."""
    length = request.headers.get("content-length", "")
    return (
        file_format in _ROWS
        and wish.options == _PLAIN
        and not is_captures_table(wish.table)  # which are compared with what is there
        and length.isdigit()
        and 0 < int(length) <= SMALL_BYTES
        and request.headers.get("content-encoding", "identity") == "identity"
    )


@dataclass
class _LoadRecord:
    """What the audit trail gets to know of a load."""

    audit: AuditTrail
    caller: Caller
    table: str
    source: str
    size: int = 0
    started: float = field(default_factory=time.perf_counter)
    rows: int = 0
    verdict: str = "cancelled"
    """Unless it comes to its end: then its client has left."""
    code: str | None = None

    def note(self, event: LoadEvent) -> None:
        """Take in what a load tells."""
        if isinstance(event, LoadProgress):
            self.rows = event.rows_added
        if isinstance(event, LoadSummary):
            self.verdict = "ok"

    def fail(self, error: DuckDBException) -> None:
        """Take in why it ended."""
        self.verdict, self.code = verdict_of("user_error", error.code), error.code

    def write(self) -> None:
        """Record the end of the load."""
        self.audit.act(
            "load",
            self.caller,
            verdict=self.verdict,
            code=self.code,
            table=self.table,
            source=self.source,
            rows=self.rows,
            bytes=self.size,
            duration_ms=round((time.perf_counter() - self.started) * 1000, 3),
        )


class _Load:
    def __init__(
        self, request: Request, wish: LoadWish, file_format: FileFormat, caller: Caller
    ) -> None:
        self._request = request
        self._wish = wish
        self._format = file_format
        self._caller = caller
        self._service = service_of(request)
        self._record = _LoadRecord(self._service.audit, caller, wish.table, wish.source)

    # --- small bodies -------------------------------------------------------------------------

    async def answer_whole(self, key: str | None) -> Response:
        """Answer with all lines at once, or with a problem."""
        limits = self._service.settings.transport
        body = await read_json_bytes(self._request, limits, body_memory_of(self._request))
        self._record.size = len(body)
        try:
            if key is None:
                events, is_replayed = await self._small_events(body, None), False
            else:
                digest = hashlib.blake2b(body, digest_size=32).hexdigest()
                loader = (await self._service.parts()).loader
                async with loader.keys.claim(self._request_key(key, digest)) as claim:
                    events = await self._small_events(body, claim)
                    is_replayed = claim.answer is not None
        except DuckDBException as error:
            self._record.fail(error)
            raise
        finally:
            self._record.write()
        return Response(
            b"".join(map(_event_line, events)),
            media_type=_media_type(self._request),
            headers=_headers(is_replayed=is_replayed),
        )

    async def _small_events(self, body: bytes, claim: KeyClaim | None) -> list[LoadEvent]:
        rows = None
        if self._service.settings.ingest.grouping:
            is_quick = len(body) <= _QUICK_BYTES
            kind = ON_LOOP if is_quick else "load"
            with self._service.record.noted(work_of(self._caller, kind, "")):
                rows = small_rows(body) if is_quick else await asyncio.to_thread(small_rows, body)
        if rows is not None and (claim is None or claim.answer is None):
            try:
                summary = await self._append(rows, None if claim is None else claim.request)
            except NotGroupedError:
                pass  # the loader of files knows what to say of them
            except WriteOutcomeUnknownError as error:
                if claim is None:
                    raise
                keys = (await self._service.parts()).loader.keys
                known = events_of(await keys.resolve(claim.request, error))
                for event in known:
                    self._record.note(event)
                return known
            else:
                self._record.note(summary)
                return [summary]
        events: list[LoadEvent] = []
        async for event in self._events(io.BytesIO(body), claim):
            self._record.note(event)
            if isinstance(event, RejectedLine | LoadSummary):
                events.append(event)
        return events

    async def _append(self, rows: SmallRows, request: RequestKey | None) -> LoadSummary:
        """Commit the rows together with those of this principal's other requests."""
        check_reader(self._caller.principal)
        parts = await self._service.parts()
        runner = parts.runner
        runner.writes.check_load(self._caller)
        account = self._service.quotas.account(self._caller.principal)
        account.open_statement()
        try:
            # The transaction may carry several requests: after a crash this tells which.
            with runner.access.record.noted(work_of(self._caller, "load", "")):
                summary = await parts.loader.groups.append(
                    *(parts.sender(self._caller), self._wish.table, rows),
                    *(self._format.value, request),
                )
            self._service.penalties.note_survived(self._caller, "")
            return summary
        finally:
            runner.writes.note(self._caller)
            account.close_statement()

    # --- all others ---------------------------------------------------------------------------

    async def answer_by_lines(self, key: str | None) -> Response:
        """Answer with lines while the load goes on."""
        async with AsyncExitStack() as stack:
            upload = await spooled(self._request, self._service, self._caller)
            stack.push_async_callback(upload.close)
            self._record.size = upload.size
            claim = None
            if key is not None:
                loader = (await self._service.parts()).loader
                request = self._request_key(key, upload.digest)
                claim = await stack.enter_async_context(loader.keys.claim(request))
            is_replayed = claim is not None and claim.answer is not None
            if not is_replayed and not self._wish.options.dry_run:
                await self._admit()
            return _Lines(
                self._lines(upload, claim),
                _headers(is_replayed=is_replayed),
                _media_type(self._request),
                stack.pop_all(),
            )

    async def _admit(self) -> None:
        """Refuse by a status what the server's state forbids: not every client reads the last line."""
        try:
            (await self._service.parts()).runner.writes.check_load(self._caller)
        except DuckDBException as error:
            self._record.fail(error)
            self._record.write()
            raise

    async def _lines(self, upload: Upload, claim: KeyClaim | None) -> AsyncIterator[bytes]:
        try:
            number = 0
            async for event in self._events(upload.file, claim, upload.claim):
                self._record.note(event)
                yield _event_line(event)
                number += 1
                if number % _LINES_IN_TURN == 0:
                    # There may be a million rejects, and a client that takes them as fast as they come.
                    await asyncio.sleep(0)
        except DuckDBException as error:
            self._record.fail(error)
            problem = problem_fields(error, self._request.scope["state"]["request_id"])
            yield _line({"event": "error", "error": problem})
        finally:
            self._record.write()

    async def _events(
        self, file: Any, claim: KeyClaim | None, space: SpaceClaim | None = None
    ) -> AsyncIterator[LoadEvent]:
        loader = (await self._service.parts()).loader_for(self._caller)
        events = loader.load(
            file,
            name=self._wish.source,
            table=self._wish.table,
            file_format=self._format,
            largest_bytes=self._service.settings.max_upload_size,
            options=self._wish.options,
            claim=claim,
            space=space,
        )
        work = work_of(self._caller, "load", "")
        while True:
            # The file is read outside of any statement, too. A client that reads slowly is no suspect.
            with self._service.record.noted(work):
                event = await anext(events, None)
            if event is None:
                return
            yield event

    def _request_key(self, key: str, digest: str) -> RequestKey:
        """Return the key with all that the request is: its body, its table and its options."""
        options = self._wish.options
        whole = orjson.dumps(
            [
                digest,
                self._wish.table,
                self._format.value,
                options.mode.value,
                options.key,
                options.create,
                options.on_error.value,
                repr(options.read),
            ]
        )
        fingerprint = hashlib.blake2b(whole, digest_size=16).hexdigest()
        return RequestKey(self._caller.principal.id, key, fingerprint)


class _Lines(StreamingResponse):
    """Lines of which what they need is let go at their end, however that comes."""

    def __init__(
        self,
        lines: AsyncIterator[bytes],
        headers: dict[str, str],
        media_type: str,
        stack: AsyncExitStack,
    ) -> None:
        super().__init__(lines, media_type=media_type, headers=headers)
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines."""
        async with self._stack:
            await super().__call__(scope, receive, send)


def _media_type(request: Request) -> str:
    """Return what the lines are called: plain text where the client knows no other name for them."""
    accept = request.headers.get("accept", "")[:_READ_CHARACTERS].lower()
    return "text/plain" if "text/plain" in accept and MEDIA_TYPE not in accept else MEDIA_TYPE


def _headers(*, is_replayed: bool) -> dict[str, str]:
    return {"Idempotency-Replayed": "true"} if is_replayed else {}


def _event_line(event: LoadEvent) -> bytes:
    kind = "progress"
    if isinstance(event, RejectedLine):
        kind = "reject"
    elif isinstance(event, LoadSummary):
        kind = "done"
    return _line({"event": kind, **vars(event)})


def _line(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields) + b"\n"
