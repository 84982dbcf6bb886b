"""``jobs``: work that outlives its request, and statements that run as such."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response

from chronoduck.api.access import Analyst, Viewer, read_body, service_of
from chronoduck.api.answers import Job
from chronoduck.api.documentation import STARTED, EventStream, problem, reads
from chronoduck.api.negotiation import FORMAT_PARAMETER, result_format
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.responses import JsonResponse, job_response
from chronoduck.api.routes.query import RESULT_RESPONSES, answer_with, encoding_options
from chronoduck.api.schemas import JobRequest
from chronoduck.engine.encoding import ResultFormat
from chronoduck.errors import NotFoundError
from chronoduck.principals import Role
from chronoduck.service.job import Job as RunningJob
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest

__all__ = ["job_of", "router"]

router = APIRouter(tags=["jobs"], route_class=ProblemRoute)
_EVENT_SECONDS = 0.5
_ALIVE_EVERY = 30
"""Looks without news after which a line shows that the connection lives."""


@router.post(
    "/jobs",
    operation_id="start_job",
    summary="Run a statement as a job",
    status_code=202,
    response_model=Job,
    response_description=STARTED,
)
@reads(JobRequest)
async def start_job(request: Request, caller: Analyst) -> Response:
    """Begin a statement that may take longer than a request; its result is kept for a while."""
    asked = await read_body(request, JobRequest)
    service = service_of(request)
    job = await (await service.parts()).statement_jobs.start(
        asked.query,
        asked.params,
        encoding_options(service),
        max_rows=asked.max_rows,
        timeout=asked.timeout_seconds,
        caller=caller,
    )
    return await job_response(request, job, caller)


@router.get(
    "/jobs",
    operation_id="list_jobs",
    summary="Jobs, newest first",
    response_model=list[Job],
)
async def list_jobs(request: Request, caller: Viewer) -> Response:
    """List running jobs and those that ended a while ago: one's own; admins see all."""
    service = service_of(request)
    shown = (await service.parts()).statement_jobs
    owner = None if caller.principal.role is Role.ADMIN else caller.principal.id
    jobs = (await service.parts()).jobs.list(owner)
    return JsonResponse([shown.as_dict(job, tells_paths=_is_operator(caller)) for job in jobs])


@router.get("/jobs/{job_id}", operation_id="get_job", summary="One job", response_model=Job)
async def get_job(job_id: str, request: Request, caller: Viewer) -> Response:
    """Show a job's state, progress and what came of it."""
    job = await job_of(job_id, request, caller)
    shown = (await service_of(request).parts()).statement_jobs
    return JsonResponse(shown.as_dict(job, tells_paths=_is_operator(caller)))


@router.get(
    "/jobs/{job_id}/result",
    operation_id="get_job_result",
    summary="A job's result",
    responses={**RESULT_RESPONSES, 409: problem("It has none, or not yet.")},
    openapi_extra={"parameters": [FORMAT_PARAMETER]},
)
async def get_job_result(
    job_id: str,
    request: Request,
    caller: Viewer,
    offset: Annotated[int, Query(ge=0, le=2**62, description="Rows to leave out.")] = 0,
    limit: Annotated[int | None, Query(ge=1, le=2**62, description="Rows at most.")] = None,
) -> Response:
    """Read a result, whole or a page of it, in any format and as often as wanted."""
    job = await job_of(job_id, request, caller)
    service = service_of(request)
    format = result_format(  # noqa: A001 - the word of the API
        request.query_params.get("format"), request.headers.get("accept")
    )
    max_rows = service.settings.default_max_rows if format is ResultFormat.JSON else None
    if limit is not None:
        max_rows = None
    jobs = (await service.parts()).statement_jobs
    wanted = ResultRequest("", None, format, encoding_options(service), max_rows)
    return await answer_with(
        request, wanted, lambda asked: jobs.read(job, asked, offset, limit, caller), f"job-{job.id}"
    )


@router.get(
    "/jobs/{job_id}/events",
    operation_id="follow_job",
    summary="A job's progress as it goes on",
    response_class=EventStream,
    responses={
        200: {
            "description": "Server-sent events: `progress` whenever something changed, `end` as "
            "the last one; the data of each is the job.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def follow_job(job_id: str, request: Request, caller: Viewer) -> Response:
    """Follow a job until its end."""
    job = await job_of(job_id, request, caller)
    service = service_of(request)
    registry, shown = (await service.parts()).jobs, (await service.parts()).statement_jobs

    async def events() -> AsyncIterator[bytes]:
        told: Any = None
        silent = 0
        while not job.has_ended:
            fields = shown.as_dict(job, tells_paths=_is_operator(caller))
            news = (fields["state"], fields["progress"]["step"], fields["progress"]["done"])
            if news != told:
                told, silent = news, 0
                yield _event("progress", fields)
            elif (silent := silent + 1) % _ALIVE_EVERY == 0:
                yield b": alive\n\n"
            await registry.wait(job, _EVENT_SECONDS)
        yield _event("end", shown.as_dict(job, tells_paths=_is_operator(caller)))

    return EventStream(events())


@router.delete(
    "/jobs/{job_id}",
    operation_id="cancel_job",
    summary="End or forget a job",
    response_model=Job,
)
async def cancel_job(job_id: str, request: Request, caller: Viewer) -> Response:
    """End a job that runs; forget one that has ended, with its result."""
    job = await job_of(job_id, request, caller)
    service = service_of(request)
    job = await (await service.parts()).jobs.cancel(job.id)
    await service.audit.act_now("job_cancelled", caller, job=job.id, kind=job.kind)
    return JsonResponse(job.as_dict(tells_paths=_is_operator(caller)))


async def job_of(job_id: str, request: Request, caller: Caller) -> RunningJob:
    """Return the job if it is the caller's, or the caller an admin.

    Raises:
        NotFoundError: there is none, or it is somebody else's.
    """
    job = (await service_of(request).parts()).jobs.get(job_id)
    if caller.principal.role is not Role.ADMIN and job.owner != caller.principal.id:
        raise NotFoundError(f"there is no job {job_id[:40]}", hint="GET jobs lists them.")
    return job


def _is_operator(caller: Caller) -> bool:
    return caller.principal.role is Role.ADMIN


def _event(name: str, fields: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(fields) + b"\n\n"
