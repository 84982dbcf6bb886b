"""``sync``: tables of PostgreSQL, read into tables here; the work goes on as jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from chronoduck.api.access import Admin, read_body, service_of
from chronoduck.api.answers import Job, RunStarted, SyncList
from chronoduck.api.documentation import STARTED, reads
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.responses import JsonResponse, job_response
from chronoduck.api.schemas import SyncRequest
from chronoduck.service.jobs import JobConflictError

__all__ = ["router"]

router = APIRouter(tags=["operations"], route_class=ProblemRoute)


@router.get(
    "/sync",
    operation_id="list_syncs",
    summary="The syncs from PostgreSQL",
    response_model=SyncList,
)
async def list_syncs(request: Request, caller: Admin) -> Response:
    """List the declared syncs: how far each is, how its last run went, and when the next one is.

    ``orphans`` are slots that syncs have left in PostgreSQL.
    """
    syncs = (await service_of(request).parts()).syncs
    return JsonResponse({"syncs": await syncs.describe(), "orphans": await syncs.orphans()})


@router.post(
    "/sync",
    operation_id="run_syncs",
    summary="Run syncs from PostgreSQL",
    status_code=202,
    response_model=RunStarted,
    response_description="Begun; follow the jobs.",
)
@reads(SyncRequest)
async def run_syncs(request: Request, caller: Admin) -> Response:
    """Begin the named syncs, or all; one that runs already is named with its job."""
    body = await read_body(request, SyncRequest)
    service = service_of(request)
    syncs = (await service.parts()).syncs
    jobs, running = [], []
    for name in syncs.names(body.names):
        try:
            job = syncs.begin(name)
        except JobConflictError:
            running.append(name)
            continue
        await service.audit.act_now("sync_started", caller, sync=name, job=job.id)
        jobs.append(job.as_dict())
    return JsonResponse({"jobs": jobs, "running_already": running}, status_code=202)


@router.delete(
    "/sync/{name}",
    operation_id="drop_sync",
    summary="Drop what a sync has in PostgreSQL",
    status_code=202,
    response_model=Job,
    response_description=STARTED,
)
async def drop_sync(
    request: Request,
    caller: Admin,
    name: str,
    forget: Annotated[bool, Query(description="Only forget it: the source is no more.")] = False,
) -> Response:
    """Begin to drop the slot and the publication of a sync; rows here stay."""
    service = service_of(request)
    job = await (await service.parts()).syncs.drop(name, forget=forget)
    await service.audit.act_now("sync_dropped", caller, sync=name, job=job.id)
    return await job_response(request, job, caller)
