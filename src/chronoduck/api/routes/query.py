"""``POST query``, ``batch`` and ``explain``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from chronoduck.api.access import (
    Access,
    Analyst,
    admit,
    attach,
    is_known_by_header,
    read_body,
    service_of,
)
from chronoduck.api.documentation import reads
from chronoduck.api.downloads import result_name
from chronoduck.api.negotiation import FORMAT_PARAMETER, result_format
from chronoduck.api.problems import ProblemRoute, refuse
from chronoduck.api.responses import (
    ClientGone,
    DisconnectGuard,
    JsonResponse,
    ResultResponse,
)
from chronoduck.api.schemas import (
    BatchRequest,
    BatchResponse,
    ExplainRequest,
    ExplainResponse,
    QueryRequest,
    QueryResponse,
)
from chronoduck.assembly import DuckDBService
from chronoduck.engine.encoding import EncodingOptions, ResultFormat
from chronoduck.errors import DuckDBException, PermissionDeniedError
from chronoduck.principals import Role
from chronoduck.service.encoded import EncodedResult
from chronoduck.service.explain import explain_statement
from chronoduck.service.queries import MANY_ROWS
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest

__all__ = [
    "RESULT_RESPONSES",
    "DirectQuery",
    "answer",
    "answer_with",
    "encoding_options",
    "router",
]

router = APIRouter(tags=["queries"], route_class=ProblemRoute)

RESULT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": QueryResponse,
        "description": "The result, in the format of `Accept` or `?format=`.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in (
                "application/x-ndjson",
                "text/csv",
                "application/vnd.apache.arrow.stream",
                "application/vnd.apache.parquet",
            )
        },
        "headers": {
            "X-Result-Truncated": {
                "description": "`true`, `false`, or `pending`: told at the end of the body.",
                "schema": {"type": "string", "enum": ["true", "false", "pending"]},
            }
        },
    }
}


@router.post(
    "/query",
    operation_id="query",
    summary="Run one statement",
    responses=RESULT_RESPONSES,
    openapi_extra={"parameters": [FORMAT_PARAMETER]},
)
@reads(QueryRequest)
async def query(request: Request, caller: Analyst) -> Response:
    """Run one statement and answer its result, streamed when it is large."""
    return await _answer_query(request, caller)


@router.get(
    "/query",
    operation_id="read_query",
    summary="Run one statement that reads",
    responses=RESULT_RESPONSES,
    openapi_extra={"parameters": [FORMAT_PARAMETER]},
)
async def read_query(
    request: Request,
    caller: Analyst,
    query: Annotated[str, Query(min_length=1, description="One SQL statement that only reads.")],
    timeout_seconds: Annotated[float | None, Query(gt=0)] = None,
    max_rows: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    json_numbers: Literal["exact", "safe"] = "exact",
) -> Response:
    """Run a statement that only reads, for tools that can only fetch an address.

    Logs of proxies keep addresses: a statement with anything secret belongs into `POST query`.
    """
    _refuse_other_sites(request)
    service = service_of(request)
    format = result_format(  # noqa: A001 - the word of the API
        request.query_params.get("format"), request.headers.get("accept")
    )
    if max_rows is None and format is ResultFormat.JSON:
        max_rows = service.settings.default_max_rows
    wanted = ResultRequest(
        sql=query,
        params=None,
        format=format,
        options=encoding_options(service, json_numbers),
        max_rows=max_rows,
        timeout=timeout_seconds,
        only_reads=True,
    )
    return await answer(request, wanted, caller)


def _refuse_other_sites(request: Request) -> None:
    """Refuse what a browser sends because another site's page has this address in it.

    Raises:
        PermissionDeniedError: so it is; or the host application tells who asks, maybe by cookies, which
            browsers send with every address.
    """
    if not is_known_by_header(request):
        raise PermissionDeniedError(
            "statements in addresses are only run for tokens and keys in a header",
            hint="Send it to POST query.",
        )
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise PermissionDeniedError(
            "a page of another site sent this statement", hint="Send it to POST query."
        )


class DirectQuery:
    """Middleware that answers ``POST query`` itself: routing and dependencies cost a third of it.

    It is the innermost one, so that no other middleware is bypassed; the documented route behind it
    does the same.
    """

    def __init__(self, app: ASGIApp, *, path: str, access: Access) -> None:
        self._app = app
        self._path = path
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        scope["chronoduck.route"] = "/query"  # as the router calls it
        attach(scope, self._access)
        request = Request(scope, receive, send)
        try:
            response = await _answer_query(request, await admit(request, Role.ANALYST))
        except DuckDBException as error:
            response = refuse(error, request)
        await response(scope, receive, send)


async def _answer_query(request: Request, caller: Caller) -> Response:
    asked = await read_body(request, QueryRequest)
    service = service_of(request)
    if asked.fetch_mode == "none":
        return await _without_rows(request, service, asked, caller)
    format = result_format(  # noqa: A001 - the word of the API
        request.query_params.get("format"), request.headers.get("accept")
    )
    max_rows = asked.max_rows
    if asked.fetch_mode == "one":
        max_rows = 1
    elif asked.fetch_mode == "many":
        max_rows = max_rows or MANY_ROWS
    elif format is ResultFormat.JSON:
        max_rows = max_rows or service.settings.default_max_rows
    return await answer(
        request,
        ResultRequest(
            sql=asked.query,
            params=asked.params,
            format=format,
            options=encoding_options(service, asked.json_numbers),
            max_rows=max_rows,
            timeout=asked.timeout_seconds,
        ),
        caller,
    )


def encoding_options(service: DuckDBService, json_numbers: str = "exact") -> EncodingOptions:
    """Return how results are encoded by this service's settings."""
    settings = service.settings
    return EncodingOptions(
        json_numbers="safe" if json_numbers == "safe" else "exact",
        parquet_compression=settings.parquet_compression,
        parquet_row_group_size=settings.parquet_row_group_size,
        parquet_page_size=settings.parquet_page_size,
        parquet_enable_dictionary=settings.parquet_enable_dictionary,
    )


async def answer(
    request: Request, wanted: ResultRequest, caller: Caller, stem: str = "query"
) -> Response:
    """Run the statement and return its response; its client's leaving interrupts it.

    ``stem``: of the name that a result is saved as.
    """
    encoded = (await service_of(request).parts()).encoded
    return await answer_with(request, wanted, lambda asked: encoded.run(asked, caller), stem)


async def answer_with(
    request: Request,
    wanted: ResultRequest,
    run: Callable[[ResultRequest], Awaitable[EncodedResult]],
    stem: str,
) -> Response:
    """Return the response to what ``run`` gives; its client's leaving interrupts it."""
    # A format without a flag for truncation must have it in the header, and HTTP/1.0 cannot tell
    # a cut body from a complete one without a length: both need the end before the beginning.
    whole = request.scope.get("http_version") == "1.0" or (
        wanted.max_rows is not None and not wanted.format.flags_truncation
    )
    if whole:
        wanted = replace(wanted, whole=True)
    guard = DisconnectGuard(request.receive)
    try:
        with guard:
            result = await run(wanted)
    except asyncio.CancelledError:
        if guard.client_left:
            return ClientGone()
        raise
    return ResultResponse(result, result_name(request, stem, wanted.format))


async def _without_rows(
    request: Request, service: DuckDBService, asked: QueryRequest, caller: Caller
) -> Response:
    guard = DisconnectGuard(request.receive)
    try:
        with guard:
            result = await service.execute_query(
                asked.query, asked.params, "none", asked.timeout_seconds, caller=caller
            )
    except asyncio.CancelledError:
        if guard.client_left:
            return ClientGone()
        raise
    return JsonResponse(vars(result))


@router.post(
    "/batch",
    operation_id="batch",
    summary="Run several statements, all or nothing",
    response_model=BatchResponse,
)
@reads(BatchRequest)
async def batch(request: Request, caller: Analyst) -> Response:
    """Run statements in order on one connection; the problem names the one that failed."""
    asked = await read_body(request, BatchRequest)
    service = service_of(request)
    encoded = (await service.parts()).encoded
    started = time.perf_counter()
    guard = DisconnectGuard(request.receive)
    try:
        with guard:
            documents = await encoded.run_batch(
                [
                    item if isinstance(item, str) else (item.query, item.params)
                    for item in asked.queries
                ],
                encoding_options(service),
                max_rows=asked.max_rows or service.settings.default_max_rows,
                use_transaction=asked.use_transaction,
                timeout=asked.timeout_seconds,
                caller=caller,
            )
    except asyncio.CancelledError:
        if guard.client_left:
            return ClientGone()
        raise
    return JsonResponse(
        {
            "results": [orjson.Fragment(document) for document in documents],
            "total_queries": len(documents),
            "total_execution_time": round(time.perf_counter() - started, 6),
            "success_count": len(documents),
        }
    )


@router.post(
    "/explain",
    operation_id="explain",
    summary="Show a statement's plan",
    response_model=ExplainResponse,
)
@reads(ExplainRequest)
async def explain(request: Request, caller: Analyst) -> Response:
    """Answer the plan; with `analyze` the statement is run and measured."""
    asked = await read_body(request, ExplainRequest)
    service = service_of(request)
    guard = DisconnectGuard(request.receive)
    try:
        with guard:
            plan = await explain_statement(
                (await service.parts()).runner,
                asked.query,
                asked.params,
                analyze=asked.analyze,
                as_json=asked.format == "json",
                timeout=asked.timeout_seconds,
                caller=caller,
            )
    except asyncio.CancelledError:
        if guard.client_left:
            return ClientGone()
        raise
    return JsonResponse(
        {
            "plan": orjson.loads(plan.text) if asked.format == "json" else plan.text,
            "format": asked.format,
            "analyze": asked.analyze,
            "execution_time": plan.execution_time,
            "query_hash": plan.query_hash,
        }
    )
