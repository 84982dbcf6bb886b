"""``jobs``: work that outlives its request."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from chronoduck.api.access import Admin, service_of
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.responses import JsonResponse

__all__ = ["router"]

router = APIRouter(tags=["operations"], route_class=ProblemRoute)


@router.get("/jobs", operation_id="list_jobs", summary="Jobs, newest first")
async def list_jobs(request: Request, caller: Admin) -> Response:
    """List running jobs and those that ended a while ago, with progress, result or error."""
    jobs = await service_of(request).jobs()
    return JsonResponse([job.as_dict() for job in jobs.list()])


@router.get("/jobs/{job_id}", operation_id="get_job", summary="One job")
async def get_job(job_id: str, request: Request, caller: Admin) -> Response:
    """Show one job."""
    return JsonResponse((await service_of(request).jobs()).get(job_id).as_dict())


@router.delete("/jobs/{job_id}", operation_id="cancel_job", summary="End a job")
async def cancel_job(job_id: str, request: Request, caller: Admin) -> Response:
    """End a job; what it had begun to write is removed."""
    service = service_of(request)
    job = await (await service.jobs()).cancel(job_id)
    service.audit.act("job_cancelled", caller, job=job.id, kind=job.kind)
    return JsonResponse(job.as_dict())
