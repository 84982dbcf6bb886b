"""``backups``: list, make and verify them, and the database itself; the work goes on as jobs."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from chronoduck.api.access import Admin, read_body, service_of
from chronoduck.api.answers import BackupList, Job
from chronoduck.api.documentation import STARTED, reads
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.responses import JsonResponse, job_response
from chronoduck.api.schemas import BackupRequest

__all__ = ["router"]

router = APIRouter(tags=["operations"], route_class=ProblemRoute)


@router.get(
    "/backups",
    operation_id="list_backups",
    summary="The backups",
    response_model=BackupList,
)
async def list_backups(request: Request, caller: Admin) -> Response:
    """List the backups, oldest first, and when the next one is made."""
    backups = (await service_of(request).parts()).backups
    found = await asyncio.to_thread(backups.list)
    return JsonResponse({"backups": [backup.as_dict() for backup in found], **backups.get_status()})


@router.post(
    "/backups",
    operation_id="create_backup",
    summary="Make a backup",
    status_code=202,
    response_model=Job,
    response_description=STARTED,
)
@reads(BackupRequest)
async def create_backup(request: Request, caller: Admin) -> Response:
    """Begin a backup of the database, or of some tables as Parquet; writers do not wait."""
    body = await read_body(request, BackupRequest)
    return await job_response(
        request, (await service_of(request).parts()).backups.create(body.tables), caller
    )


@router.post(
    "/backups/{backup_id}/verify",
    operation_id="verify_backup",
    summary="Verify a backup",
    status_code=202,
    response_model=Job,
    response_description=STARTED,
)
async def verify_backup(backup_id: str, request: Request, caller: Admin) -> Response:
    """Begin to restore it into a scratch directory, to read every column and compare."""
    backups = (await service_of(request).parts()).backups
    return await job_response(request, await backups.verify(backup_id), caller)


@router.post(
    "/compact",
    operation_id="compact_database",
    summary="Compact the database",
    status_code=202,
    response_model=Job,
    response_description=STARTED,
)
async def compact_database(request: Request, caller: Admin) -> Response:
    """Begin to write the database into a new file; writers wait until that is in place."""
    compaction = (await service_of(request).parts()).compaction
    return await job_response(request, await compaction.begin(), caller)


@router.post(
    "/verify",
    operation_id="verify_database",
    summary="Verify the database",
    status_code=202,
    response_model=Job,
    response_description=STARTED,
)
async def verify_database(request: Request, caller: Admin) -> Response:
    """Begin to copy the database and to read every column of every table in the copy."""
    return await job_response(
        request, (await service_of(request).parts()).backups.verify_database(), caller
    )
