"""``GET tables`` and ``GET tables/{name}``."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request, Response

from chronoduck.api.access import Analyst, service_of
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.responses import JsonResponse
from chronoduck.api.routes.query import encoding_options
from chronoduck.api.schemas import TableDetails, TableSummary
from chronoduck.assembly import DuckDBService
from chronoduck.engine.encoding import ResultFormat
from chronoduck.errors import DuckDBQueryError
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest

__all__ = ["router"]

router = APIRouter(tags=["tables"], route_class=ProblemRoute)
_SAMPLE_ROWS = 5
_DETAIL_ONLY = ("columns", "size_bytes")


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
    response_model=TableDetails,
)
async def get_table(name: str, request: Request, caller: Analyst) -> Response:
    """Show columns, types, rows, size on disk and a few rows.

    `name` is `table` or `schema.table`; a part with other signs stands in double quotes.
    """
    service = service_of(request)
    table = await (await service.parts()).catalog.table(name, caller)
    try:
        sample = await _sample(service, table.sample_sql, caller)
    except DuckDBQueryError as error:
        if error.category != "encoding":
            raise
        sample = await _sample(service, table.texts_sql, caller)
    # Not asdict(), which takes 15 ms for 3,000 columns.
    return JsonResponse({**vars(table), "sample": orjson.Fragment(sample)})


async def _sample(service: DuckDBService, sql: str, caller: Caller) -> bytes:
    options = encoding_options(service)
    request = ResultRequest(sql, None, ResultFormat.JSON, options, _SAMPLE_ROWS, whole=False)
    return (await (await service.parts()).encoded.run(request, caller)).body
