"""``POST tables/{name}/rows``: a file's bytes, or rows of JSON, into a table."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from chronoduck.api.access import Access, Writer, admit, attach
from chronoduck.api.documentation import LoadLines
from chronoduck.api.loading import MEDIA_TYPE, LoadWish, answer_load, is_small
from chronoduck.api.problems import ProblemRoute, refuse
from chronoduck.api.reading import asked_reading
from chronoduck.api.uploads import FORMATS, format_of
from chronoduck.errors import DuckDBException, InvalidRequestError
from chronoduck.principals import Role
from chronoduck.transfer import FileFormat, LoadMode, LoadOptions, OnError, ReadOptions

__all__ = ["DirectRows", "router"]

router = APIRouter(tags=["tables"], route_class=ProblemRoute)


@router.post(
    "/tables/{name:path}/rows",
    operation_id="load_rows",
    summary="Load a file or rows into a table",
    response_class=LoadLines,
    responses={
        200: {
            "description": "One JSON object per line: `reject` lines, `progress` after every "
            "commit, and `done` or `error` as the last one. Small bodies of JSON rows get their "
            "`done` line alone, or a problem. With `Accept: text/plain` they are called that.",
            "content": {
                MEDIA_TYPE: {"schema": {"type": "string"}},
                "text/plain": {"schema": {"type": "string"}},
            },
            "headers": {
                "Idempotency-Replayed": {
                    "description": "`true` when this is the answer that the key got before.",
                    "schema": {"type": "string"},
                }
            },
        }
    },
    openapi_extra={
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "A request that is repeated with its key within 24 hours is done once.",
                "schema": {"type": "string", "maxLength": 257},
            }
        ],
        "requestBody": {
            "required": True,
            "description": "The file, plain or compressed by gzip or zstd; or rows as JSON. "
            f"`Content-Type` may name the format: {', '.join(sorted(FORMATS))}.",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            },
        },
    },
)
async def load_rows(
    name: str,
    request: Request,
    caller: Writer,
    read: Annotated[ReadOptions, Depends(asked_reading)],
    source: Annotated[str, Query(max_length=255, description="The file's name.")] = "upload",
    format: Annotated[  # noqa: A002
        FileFormat, Query(description="What the file is; wins over `Content-Type`.")
    ] = FileFormat.AUTO,
    mode: Annotated[
        LoadMode, Query(description="What happens to the rows that are there.")
    ] = LoadMode.APPEND,
    key: Annotated[
        str, Query(max_length=1000, description="Columns by which `upsert` knows a row: `a,b`.")
    ] = "",
    create: Annotated[bool, Query(description="Make a table that is missing.")] = True,
    dry_run: Annotated[bool, Query(description="Do everything but the commit.")] = False,
    on_error: Annotated[
        OnError, Query(description="What a bad row of NDJSON or CSV does to the others.")
    ] = OnError.ABORT,
) -> Response:
    """Load captures (CDX, CDXJ, CDX server JSON), Arrow IPC, Parquet, CSV, JSON or NDJSON.

    Captures are committed in chunks; every row that a `progress` or `done` line counts is durable,
    and loading a file of captures again adds nothing. Everything else is one transaction.
    """
    if not source.isprintable():
        raise InvalidRequestError("source must be a printable file name")
    options = LoadOptions(
        mode=mode,
        key=tuple(column.strip() for column in key.split(",")) if key else (),
        create=create,
        dry_run=dry_run,
        on_error=on_error,
        read=read,
    )
    return await answer_load(request, LoadWish(name, source, format, options), caller)


class DirectRows:
    """Middleware that answers small bodies of rows itself, as ``DirectQuery`` does with queries."""

    def __init__(self, app: ASGIApp, *, prefix: str, access: Access) -> None:
        """``prefix``: what the path begins with, before the table's name."""
        self._app = app
        self._prefix = prefix
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        wish = self._wish(scope)
        request = None if wish is None else Request(scope, receive, send)
        if (
            wish is None
            or request is None
            or not is_small(request, format_of(request, wish.format), wish)
        ):
            await self._app(scope, receive, send)
            return
        scope["chronoduck.route"] = "/tables/{name}/rows"  # as the router calls it
        attach(scope, self._access)
        try:
            caller = await admit(request, Role.WRITER)
            response = await answer_load(request, wish, caller)
        except DuckDBException as error:
            response = refuse(error, request)
        await response(scope, receive, send)

    def _wish(self, scope: Scope) -> LoadWish | None:
        """Return the table and format that a plain request names; None for all others."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        path: str = scope["path"]
        if not path.startswith(self._prefix) or not path.endswith("/rows"):
            return None
        table = path[len(self._prefix) : -len("/rows")]
        if not table:
            return None
        asked = parse_qsl(scope["query_string"].decode("latin-1"))
        if not asked:
            return LoadWish(table)
        if len(asked) == 1 and asked[0][0] == "format" and asked[0][1] in ("ndjson", "json"):
            return LoadWish(table, format=FileFormat(asked[0][1]))
        return None
