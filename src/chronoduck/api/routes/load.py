"""``POST tables/{name}/rows``: a file's bytes into a table, with progress while it goes on."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator
from dataclasses import asdict
from io import RawIOBase
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from chronoduck.api.access import Authenticated, service_of
from chronoduck.api.problems import problem_fields
from chronoduck.errors import DuckDBException, InvalidRequestError, LoadError
from chronoduck.transfer import FileFormat, FileLoader, LoadSummary, RejectedLine

__all__ = ["router"]

router = APIRouter(tags=["tables"])
_QUEUED_BLOCKS = 16
_WAIT_SECONDS = 300.0
"""How long the loader waits for the next bytes of an upload that stands still."""


class _UploadPipe(RawIOBase):
    """The request's body as a file for the loader's threads, a few blocks at a time."""

    def __init__(self) -> None:
        self._blocks: queue.Queue[bytes | None] = queue.Queue(_QUEUED_BLOCKS)
        self._rest = b""
        self._is_at_end = False
        self._is_broken = False

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes, waiting for the client; empty at the end."""
        if not self._rest and not self._is_at_end:
            try:
                block = self._blocks.get(timeout=_WAIT_SECONDS)
            except queue.Empty:
                self._is_broken = True
                block = None
            self._is_at_end = block is None
            self._rest = block or b""
        if self._is_broken:
            raise OSError("the upload broke off before its end")
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    async def fill(self, request: Request) -> None:
        """Pass the body on; a client that leaves breaks the pipe."""
        try:
            async for block in request.stream():
                if block:
                    await self._put(block)
        except ClientDisconnect:
            self._is_broken = True
        finally:
            await self._put(None)

    async def _put(self, block: bytes | None) -> None:
        # Polling instead of a thread per block: a full queue means that the engine is busy anyway.
        while True:
            try:
                self._blocks.put_nowait(block)
            except queue.Full:
                await asyncio.sleep(0.005)
            else:
                return


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
    caller: Authenticated,
    source: Annotated[str, Query(max_length=255, description="The file's name.")] = "upload",
    format: Annotated[FileFormat, Query(description="What the file is.")] = FileFormat.AUTO,  # noqa: A002
) -> Response:
    """Load captures (CDX, CDXJ, CDX server JSON) or Parquet, CSV and JSON into a table.

    Captures are committed in chunks; every row that a `progress` or `done` line counts is durable.
    Loading a file of captures again adds nothing.
    """
    if not source.isprintable():
        raise InvalidRequestError("source must be a printable file name")
    loader = await service_of(request).loader()
    return StreamingResponse(
        _events(loader, request, name, source, format), media_type="application/x-ndjson"
    )


async def _events(
    loader: FileLoader, request: Request, table: str, source: str, file_format: FileFormat
) -> AsyncIterator[bytes]:
    pipe = _UploadPipe()
    filling = asyncio.create_task(pipe.fill(request))
    try:
        async for event in loader.load(
            pipe,  # type: ignore[arg-type] # it is read like a BinaryIO
            name=source,
            table=table,
            file_format=file_format,
        ):
            kind = "progress"
            if isinstance(event, RejectedLine):
                kind = "reject"
            elif isinstance(event, LoadSummary):
                kind = "done"
            yield _line({"event": kind, **asdict(event)})
    except DuckDBException as error:
        request_id = request.scope["state"]["request_id"]
        yield _line({"event": "error", "error": problem_fields(error, request_id)})
    except OSError as error:
        problem = LoadError(f"{source} was not loaded to its end: {error}")
        yield _line({"event": "error", "error": problem_fields(problem, None)})
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)


def _line(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields) + b"\n"
