"""``GET queries`` and ``DELETE queries/{id}``: what runs now, and ending it.

An admin sees every statement, everybody else those of their own principal: others do not exist.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from fastapi import APIRouter, Request

from chronoduck.api.access import Viewer, service_of
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.schemas import RunningQuery, StatusMessage
from chronoduck.errors import NotFoundError
from chronoduck.principals import Role
from chronoduck.service.records import Caller, RunningStatement
from chronoduck.service.runner import StatementRunner
from chronoduck.sql.masking import mask_statement

__all__ = ["describe_running", "router"]

router = APIRouter(tags=["operations"], route_class=ProblemRoute)
_SHOWN_CHARACTERS = 20_000
"""Of a longer statement its beginning is shown."""


def describe_running(running: RunningStatement) -> RunningQuery:
    """Return a running statement as the API shows it; 0.1 s for a long one, so for a thread.

    The text is masked once, so repeated requests are cheap.
    """
    if running.shown is None:
        shown = running.sql[:_SHOWN_CHARACTERS]
        running.shown = mask_statement(shown) + ("" if shown == running.sql else " ...")
    return RunningQuery(
        id=running.id,
        query=running.shown,
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


def _visible(runner: StatementRunner, caller: Caller) -> list[RunningStatement]:
    everything = caller.principal.role is Role.ADMIN
    return [
        running
        for running in runner.list_running()
        if everything or running.caller.principal.id == caller.principal.id
    ]


async def _find(query_id: str, request: Request, caller: Caller) -> RunningStatement:
    runner = (await service_of(request).parts()).runner
    for running in _visible(runner, caller):
        if running.id == query_id:
            return running
    raise NotFoundError(
        f"no statement {query_id} is running", hint="GET queries lists the running ones."
    )


@router.get("/queries", operation_id="list_queries", summary="Statements that run now")
async def list_queries(request: Request, caller: Viewer) -> list[RunningQuery]:
    """List waiting, running and streaming statements, oldest first; only an admin sees others'."""
    runner = (await service_of(request).parts()).runner
    visible = _visible(runner, caller)
    return await asyncio.to_thread(lambda: [describe_running(running) for running in visible])


@router.get("/queries/{query_id}", operation_id="get_query", summary="One running statement")
async def get_query(query_id: str, request: Request, caller: Viewer) -> RunningQuery:
    """Show one statement that runs now."""
    return await asyncio.to_thread(describe_running, await _find(query_id, request, caller))


@router.delete("/queries/{query_id}", operation_id="cancel_query", summary="End a statement")
async def cancel_query(query_id: str, request: Request, caller: Viewer) -> StatusMessage:
    """Interrupt a statement; its caller gets the problem `statement_cancelled`."""
    await _find(query_id, request, caller)
    service = service_of(request)
    running = (await service.parts()).runner.cancel(query_id)
    await service.audit.act_now(
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
