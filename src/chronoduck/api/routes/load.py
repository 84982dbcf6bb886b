"""``POST tables/{name}/rows``: a file's bytes into a table, with progress while it goes on."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import IO, Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from chronoduck.api.access import Writer, service_of
from chronoduck.api.bodies import BodyTooLargeError, check_encoding
from chronoduck.api.problems import ProblemRoute, problem_fields
from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBException, InvalidRequestError, LoadError
from chronoduck.monitoring.audit import AuditTrail, verdict_of
from chronoduck.service.records import Caller
from chronoduck.transfer import (
    FileFormat,
    FileLoader,
    LoadEvent,
    LoadProgress,
    LoadSummary,
    RejectedLine,
)
from chronoduck.units import format_bytes

__all__ = ["router"]

router = APIRouter(tags=["tables"], route_class=ProblemRoute)
_SPOOLED_BLOCK_BYTES = 1_000_000


@router.post(
    "/tables/{name}/rows",
    operation_id="load_rows",
    summary="Load a file into a table",
    responses={
        200: {
            "description": "One JSON object per line: `reject` lines, `progress` after every "
            "commit, and `done` or `error` as the last one.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        }
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file, plain or compressed by gzip or zstd.",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    },
)
async def load_rows(
    name: str,
    request: Request,
    caller: Writer,
    source: Annotated[str, Query(max_length=255, description="The file's name.")] = "upload",
    format: Annotated[FileFormat, Query(description="What the file is.")] = FileFormat.AUTO,  # noqa: A002
) -> Response:
    """Load captures (CDX, CDXJ, CDX server JSON) or Parquet, CSV and JSON into a table.

    Captures are committed in chunks; every row that a `progress` or `done` line counts is durable.
    Loading a file of captures again adds nothing.
    """
    if not source.isprintable():
        raise InvalidRequestError("source must be a printable file name")
    check_encoding(request.headers.get("content-encoding", "").encode(), (b"gzip", b"zstd"))
    service = service_of(request)
    loader = await service.loader(caller)
    # The whole upload first: a client that sends and does not read yet must not block the load.
    spool = await _spooled(request, service)
    record = _LoadRecord(service.audit, caller, name, source, os.fstat(spool.fileno()).st_size)
    return StreamingResponse(
        _events(loader, request, spool, name, format, record, service.settings.max_upload_size),
        media_type="application/x-ndjson",
    )


@dataclass
class _LoadRecord:
    """What the audit trail gets to know of a load."""

    audit: AuditTrail
    caller: Caller
    table: str
    source: str
    size: int
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


async def _spooled(request: Request, service: DuckDBService) -> IO[bytes]:
    limit = service.settings.max_upload_size
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    spool: IO[bytes] = await asyncio.to_thread(
        lambda: tempfile.TemporaryFile(dir=service.spool_directory)  # noqa: SIM115 - closed by _events
    )
    try:
        pending = bytearray()
        total = 0
        async for block in request.stream():
            total += len(block)
            if total > limit:
                raise _too_large(limit)
            pending += block
            if len(pending) >= _SPOOLED_BLOCK_BYTES:
                await asyncio.to_thread(spool.write, bytes(pending))
                pending.clear()
        if total == 0:
            raise LoadError("the upload is empty", hint="Nothing was loaded.")
        await asyncio.to_thread(spool.write, bytes(pending))
        await asyncio.to_thread(spool.seek, 0)
    except ClientDisconnect:
        spool.close()
        raise LoadError("the upload broke off before its end; nothing was loaded") from None
    except BaseException:
        spool.close()
        raise
    return spool


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"the upload has more than {format_bytes(limit)}",
        hint="Split the file, or raise DUCKDB_MAX_UPLOAD_SIZE.",
    )


async def _events(
    loader: FileLoader,
    request: Request,
    spool: IO[bytes],
    table: str,
    file_format: FileFormat,
    record: _LoadRecord,
    largest_bytes: int,
) -> AsyncIterator[bytes]:
    with spool:
        try:
            async for event in loader.load(
                spool,
                name=record.source,
                table=table,
                file_format=file_format,
                largest_bytes=largest_bytes,
            ):
                record.note(event)
                kind = "progress"
                if isinstance(event, RejectedLine):
                    kind = "reject"
                elif isinstance(event, LoadSummary):
                    kind = "done"
                yield _line({"event": kind, **asdict(event)})
        except DuckDBException as error:
            record.verdict, record.code = verdict_of("user_error", error.code), error.code
            problem = problem_fields(error, request.scope["state"]["request_id"])
            yield _line({"event": "error", "error": problem})
        finally:
            record.write()


def _line(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields) + b"\n"
