"""``replication``: how far the replica is behind, what it holds, and whether it can be restored."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from chronoduck.api.access import Admin, service_of
from chronoduck.api.answers import Job, Replication
from chronoduck.api.documentation import STARTED
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.responses import JsonResponse, job_response

__all__ = ["router"]

router = APIRouter(tags=["operations"], route_class=ProblemRoute)


@router.get(
    "/replication",
    operation_id="replication",
    summary="How safe is the data?",
    response_model=Replication,
)
async def replication(request: Request, caller: Admin) -> Response:
    """Show lag, restore points, the store's size and requests, scrub and checkpoints."""
    return JsonResponse(await service_of(request).get_replication_status())


@router.post(
    "/replication/drill",
    operation_id="restore_drill",
    summary="Try a restore",
    status_code=202,
    response_model=Job,
    response_description=STARTED,
)
async def drill(request: Request, caller: Admin) -> Response:
    """Begin to restore the newest point elsewhere, to read every column of it and to time that."""
    return await job_response(request, (await service_of(request).parts()).drills.begin(), caller)
