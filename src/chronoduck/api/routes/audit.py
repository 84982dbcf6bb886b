"""``GET audit``: the trail, newest first by pages or as a whole."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse

from chronoduck.api.access import Admin, service_of
from chronoduck.api.answers import AuditPage
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.responses import JsonResponse
from chronoduck.errors import NotFoundError
from chronoduck.monitoring.audit import AuditFilter, AuditReader, moment

__all__ = ["router"]

router = APIRouter(tags=["operations"], route_class=ProblemRoute)
_TIME = "A time (2026-11-23T10:00:00Z), or how long ago (1h)."
_Text = Annotated[str | None, Query(max_length=200)]


@router.get(
    "/audit",
    operation_id="audit",
    summary="Who did what",
    response_model=AuditPage,
    responses={
        200: {
            "description": "A page of events, newest first; or, as NDJSON, all of them, oldest first.",
            "content": {
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        }
    },
)
async def audit(
    request: Request,
    caller: Admin,
    since: Annotated[str | None, Query(max_length=40, description=_TIME)] = None,
    until: Annotated[str | None, Query(max_length=40, description=_TIME)] = None,
    principal: Annotated[str | None, Query(max_length=200, description="Id or name.")] = None,
    event: _Text = None,
    verdict: _Text = None,
    code: _Text = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=100, description="Of the page before.")] = None,
    format: Literal["json", "ndjson"] = "json",  # noqa: A002 - the word of the API
) -> Response:
    """Answer events of the audit trail; that somebody read it is an event of its own."""
    service = service_of(request)
    if not service.audit.is_enabled:
        raise NotFoundError("there is no audit trail", hint="Set DUCKDB_AUDIT_ENABLED=true.")
    wanted = AuditFilter(moment(since), moment(until), principal, event, verdict, code)
    reader = AuditReader(service.settings.audit_path)
    if cursor is None:
        await service.audit.act_now("audit_read", caller, format=format)
    if format == "ndjson":
        return StreamingResponse(
            iterate_in_threadpool(reader.export(wanted)), media_type="application/x-ndjson"
        )
    page = await asyncio.to_thread(reader.page, wanted, limit, cursor)
    return JsonResponse({"events": page.events, "next_cursor": page.next_cursor})
