"""``GET tables`` and ``GET tables/{name}``."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from chronoduck.api.access import Analyst, service_of
from chronoduck.api.downloads import attachment, result_name
from chronoduck.api.negotiation import FORMAT_PARAMETER, MEDIA_TYPES, result_format
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.responses import JsonResponse
from chronoduck.api.routes.query import RESULT_RESPONSES, answer, encoding_options
from chronoduck.api.schemas import QueryResponse, TableDetails, TableSummary
from chronoduck.assembly import DuckDBService
from chronoduck.engine.encoding import ResultFormat
from chronoduck.errors import DuckDBQueryError
from chronoduck.service.catalog import Table
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest

__all__ = ["router"]

router = APIRouter(tags=["tables"], route_class=ProblemRoute)
_SAMPLE_ROWS = 5
_DETAIL_ONLY = ("columns", "size_bytes", "database")
_ROWS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": TableDetails | QueryResponse,
        "description": "The table; with `format` its rows.",
        "content": RESULT_RESPONSES[200]["content"],
    }
}


@router.get(
    "/tables",
    operation_id="list_tables",
    summary="Tables and views",
    response_model=list[TableSummary],
)
async def list_tables(request: Request, caller: Analyst) -> Response:
    """List tables and views with their estimated rows."""
    catalog = (await service_of(request).parts()).catalog
    return JsonResponse(
        [
            {key: value for key, value in vars(table).items() if key not in _DETAIL_ONLY}
            for table in await catalog.tables(caller)
        ]
    )


@router.get(
    "/tables/{name:path}",
    operation_id="get_table",
    summary="One table",
    responses=_ROWS,
    openapi_extra={"parameters": [FORMAT_PARAMETER]},
)
async def get_table(name: str, request: Request, caller: Analyst) -> Response:
    """Show columns, types, rows, size on disk and a few rows; with `format` all rows in that format.

    `name` is `table` or `schema.table`; a part with other signs stands in double quotes.
    """
    if "format" in request.query_params:
        return await _rows(name, request, caller)
    service = service_of(request)
    table = await (await service.parts()).catalog.table(name, caller)
    sample = await _sample_of(service, table, caller)
    # Not asdict(), which takes 15 ms for 3,000 columns.
    shown = {key: value for key, value in vars(table).items() if key != "database"}
    return JsonResponse({**shown, "sample": orjson.Fragment(sample)})


@router.head("/tables/{name:path}", include_in_schema=False)
async def head_table(name: str, request: Request, caller: Analyst) -> Response:
    """Answer what GET would: its statement is run, for no rows."""
    headers = {"Accept-Ranges": "none"}
    asked = request.query_params.get("format")
    service = service_of(request)
    parts = await service.parts()
    format = None if asked is None else result_format(asked, None)  # noqa: A001 - as in the API
    table = await parts.catalog.table(name, caller)
    media_type = "application/json"
    if format is None:
        await _sample_of(service, table, caller)
    else:
        sql = f"{table.rows_sql} LIMIT 0"
        options = encoding_options(service)
        wanted = ResultRequest(sql, None, format, options, None, whole=True, only_reads=True)
        await parts.encoded.run(wanted, caller)
        media_type = MEDIA_TYPES[format]
        headers["Content-Disposition"] = attachment(result_name(request, table.name, format) or "")
    response = Response(media_type=media_type, headers=headers)
    del response.headers["Content-Length"]  # nobody knows it, and 0 would be wrong
    return response


async def _rows(name: str, request: Request, caller: Caller) -> Response:
    """Answer all rows that the caller sees, as a statement of its own: with its limits and scope."""
    service = service_of(request)
    format = result_format(request.query_params["format"], None)  # noqa: A001 - the word of the API
    table = await (await service.parts()).catalog.table(name, caller)
    wanted = ResultRequest(
        sql=table.rows_sql,
        params=None,
        format=format,
        options=encoding_options(service),
        max_rows=service.settings.default_max_rows if format is ResultFormat.JSON else None,
        only_reads=True,
    )
    return await answer(request, wanted, caller, table.name)


async def _sample_of(service: DuckDBService, table: Table, caller: Caller) -> bytes:
    try:
        return await _sample(service, table.sample_sql, caller)
    except DuckDBQueryError as error:
        if error.category != "encoding":
            raise
        return await _sample(service, table.texts_sql, caller)


async def _sample(service: DuckDBService, sql: str, caller: Caller) -> bytes:
    options = encoding_options(service)
    request = ResultRequest(sql, None, ResultFormat.JSON, options, _SAMPLE_ROWS, whole=False)
    return (await (await service.parts()).encoded.run(request, caller)).body
