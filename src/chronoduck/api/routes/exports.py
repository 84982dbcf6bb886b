"""``exports`` and ``downloads``: results as files, and links to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from chronoduck.api.access import (
    Admin,
    Analyst,
    Viewer,
    keys_of,
    read_body,
    service_of,
)
from chronoduck.api.addresses import api_root
from chronoduck.api.answers import ExportList, Job, RunStarted
from chronoduck.api.documentation import STARTED, FileBytes, reads
from chronoduck.api.downloads import attachment
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.responses import JsonResponse, job_response
from chronoduck.api.revocation import is_revoked
from chronoduck.api.routes.jobs import job_of
from chronoduck.api.routes.query import encoding_options
from chronoduck.api.schemas import ExportRequest, ExportRunRequest, LinkRequest, LinkResponse
from chronoduck.assembly import DuckDBService
from chronoduck.assembly.authentication import open_links
from chronoduck.auth.signed_links import SignedLinks
from chronoduck.errors import AuthenticationError
from chronoduck.service.exports import ExportWish
from chronoduck.service.job import Job as ExportJob
from chronoduck.service.jobs import JobConflictError

__all__ = ["public_router", "router"]

router = APIRouter(tags=["jobs"], route_class=ProblemRoute)
public_router = APIRouter(tags=["jobs"], route_class=ProblemRoute)


@router.post(
    "/exports",
    operation_id="start_export",
    summary="Write a result into files",
    status_code=202,
    response_model=Job,
    response_description=STARTED,
)
@reads(ExportRequest)
async def start_export(request: Request, caller: Analyst) -> Response:
    """Begin an export; the job's result lists its files."""
    asked = await read_body(request, ExportRequest)
    service = service_of(request)
    wish = ExportWish(
        asked.query,
        asked.params,
        asked.format,
        tuple(asked.partition_by),
        asked.name,
        asked.timeout_seconds,
    )
    job = await (await service.parts()).exports.start(wish, encoding_options(service), caller)
    return await job_response(request, job, caller)


@router.get(
    "/exports",
    operation_id="list_exports",
    summary="The declared exports",
    response_model=ExportList,
)
async def list_exports(request: Request, caller: Admin) -> Response:
    """List the exports that a file declares: how the last run of each went, when the next one is."""
    exports = (await service_of(request).parts()).declared_exports
    return JsonResponse({"exports": await exports.describe()})


@router.post(
    "/exports/run",
    operation_id="run_exports",
    summary="Run declared exports",
    status_code=202,
    response_model=RunStarted,
    response_description="Begun; follow the jobs.",
)
@reads(ExportRunRequest)
async def run_exports(request: Request, caller: Admin) -> Response:
    """Begin the named exports, or all; one that runs already is named with its job."""
    body = await read_body(request, ExportRunRequest)
    service = service_of(request)
    exports = (await service.parts()).declared_exports
    jobs, running = [], []
    for name in exports.names(body.names):
        try:
            job = exports.begin(name, rebuild=body.rebuild)
        except JobConflictError:
            running.append(name)
            continue
        await service.audit.act_now("export_started", caller, export=name, job=job.id)
        jobs.append(job.as_dict())
    return JsonResponse({"jobs": jobs, "running_already": running}, status_code=202)


@router.get(
    "/exports/{job_id}/files/{name:path}",
    operation_id="get_export_file",
    summary="One file of an export",
    response_class=FileBytes,
    responses=FileBytes.DESCRIPTION,
)
async def get_export_file(job_id: str, name: str, request: Request, caller: Viewer) -> Response:
    """Fetch a file of one's own export; admins of any."""
    return await _file(service_of(request), await job_of(job_id, request, caller), name)


@router.post(
    "/exports/{job_id}/links",
    operation_id="create_export_link",
    summary="A link to a file",
)
@reads(LinkRequest)
async def create_export_link(job_id: str, request: Request, caller: Viewer) -> LinkResponse:
    """Make a link by which anybody may fetch one file for a while."""
    asked = await read_body(request, LinkRequest)
    job = await job_of(job_id, request, caller)
    service = service_of(request)
    await asyncio.to_thread((await service.parts()).exports.read, job, asked.file)  # it is there
    expires_at = int(time.time()) + asked.expires_in_seconds
    what = [job.id, asked.file, caller.principal.id]
    token = await asyncio.to_thread(_links(service).sign, what, expires_at)
    await service.audit.act_now("link_created", caller, job=job.id, file=asked.file)
    return LinkResponse(
        url=f"{api_root(request)}/downloads/{token}",
        expires_at=datetime.fromtimestamp(expires_at, UTC).isoformat(),
    )


@public_router.get(
    "/downloads/{token}",
    operation_id="download",
    summary="What a link is to",
    response_class=FileBytes,
    responses=FileBytes.DESCRIPTION,
)
async def download(token: str, request: Request) -> Response:
    """Public. The link itself is the credential; 401 when it is wrong or has expired, or when the key of
    whose file it is, or of who made it, was revoked.
    """
    service = service_of(request)
    job_id, name, *maker = await asyncio.to_thread(_links(service).check, token, time.time())
    job = (await service.parts()).jobs.get(job_id)
    keys = keys_of(request)
    if keys is not None:
        await keys.follow()
        if any(is_revoked(owner, keys) for owner in (job.owner, *maker)):
            raise AuthenticationError(
                "the key behind this link was revoked", hint="Ask for a new one."
            )
    return await _file(service, job, name)


def _links(service: DuckDBService) -> SignedLinks:
    return open_links(service.settings)


async def _file(service: DuckDBService, job: ExportJob, name: str) -> Response:
    exports = (await service.parts()).exports
    pieces: Iterator[bytes] = await asyncio.to_thread(exports.read, job, name)
    size = next(each["bytes"] for each in (job.result or {})["files"] if each["name"] == name)
    return StreamingResponse(
        pieces,
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(size),
            "Content-Disposition": attachment(name),
        },
    )
