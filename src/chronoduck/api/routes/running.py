"""``GET queries`` and ``DELETE queries/{id}``: what runs now, and ending it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from fastapi import APIRouter, Request

from chronoduck.api.access import Authenticated, service_of
from chronoduck.api.schemas import RunningQuery, StatusMessage
from chronoduck.engine.masking import mask_statement
from chronoduck.errors import NotFoundError
from chronoduck.service.records import RunningStatement

__all__ = ["router"]

router = APIRouter(tags=["operations"])


def _describe(running: RunningStatement) -> RunningQuery:
    return RunningQuery(
        id=running.id,
        query=mask_statement(running.sql),
        kind=running.kind,
        query_hash=running.query_hash,
        user=running.caller.name,
        request_id=running.caller.request_id,
        state=running.state,
        started_at=datetime.fromtimestamp(running.started_at, UTC).isoformat(),
        elapsed_seconds=round(time.perf_counter() - running.started, 3),
        queue_seconds=round(running.queue_seconds, 6),
        timeout_seconds=running.timeout_seconds,
        rows=running.rows,
    )


@router.get("/queries", operation_id="list_queries", summary="Statements that run now")
async def list_queries(request: Request, caller: Authenticated) -> list[RunningQuery]:
    """List waiting, running and streaming statements, oldest first."""
    runner = await service_of(request).runner()
    return [_describe(running) for running in runner.list_running()]


@router.get("/queries/{query_id}", operation_id="get_query", summary="One running statement")
async def get_query(query_id: str, request: Request, caller: Authenticated) -> RunningQuery:
    """Show one statement that runs now."""
    runner = await service_of(request).runner()
    for running in runner.list_running():
        if running.id == query_id:
            return _describe(running)
    raise NotFoundError(
        f"no statement {query_id} is running", hint="GET queries lists the running ones."
    )


@router.delete("/queries/{query_id}", operation_id="cancel_query", summary="End a statement")
async def cancel_query(query_id: str, request: Request, caller: Authenticated) -> StatusMessage:
    """Interrupt a statement; its caller gets the problem `statement_cancelled`."""
    service = service_of(request)
    running = (await service.runner()).cancel(query_id)
    service.audit.act(
        "statement_killed",
        caller,
        kind=running.kind,
        query_hash=running.query_hash,
        owner=running.caller.principal.id,
        owner_request_id=running.caller.request_id,
    )
    return StatusMessage(
        status="success", message=f"The {running.kind} statement {query_id} is being interrupted."
    )
