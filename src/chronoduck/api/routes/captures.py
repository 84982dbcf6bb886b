"""``captures``: the table of captures, brought to the form of today's loads."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from chronoduck.api.access import Admin, service_of
from chronoduck.api.answers import Job
from chronoduck.api.documentation import STARTED
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.responses import job_response

__all__ = ["router"]

router = APIRouter(tags=["operations"], route_class=ProblemRoute)


@router.post(
    "/captures/rekey",
    operation_id="rekey_captures",
    summary="Rekey the captures",
    status_code=202,
    response_model=Job,
    response_description=STARTED,
)
async def rekey_captures(request: Request, caller: Admin) -> Response:
    """Begin to give captures of earlier versions today's keys and digests; loads go on meanwhile."""
    parts = await service_of(request).parts()
    job = parts.jobs.start("rekey", parts.loader.rekey)
    return await job_response(request, job, caller)
