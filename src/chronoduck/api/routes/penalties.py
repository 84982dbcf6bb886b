"""``penalties``: who has to wait because of what its statements broke, and the release; for admins."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from chronoduck.api.access import Admin, service_of
from chronoduck.api.answers import Penalties
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.responses import JsonResponse
from chronoduck.api.schemas import StatusMessage
from chronoduck.errors import NotFoundError

__all__ = ["router"]

router = APIRouter(tags=["operations"], route_class=ProblemRoute)


@router.get(
    "/penalties",
    operation_id="list_penalties",
    summary="Who waits in the penalty box",
    response_model=Penalties,
)
async def list_penalties(request: Request, caller: Admin) -> Response:
    """List who has to wait and why, the longest wait first, and what runs alone; times in seconds."""
    return JsonResponse(service_of(request).penalties.describe())


@router.delete(
    "/penalties/{party:path}",
    operation_id="release_penalty",
    summary="Release from the penalty box",
)
async def release_penalty(party: str, request: Request, caller: Admin) -> StatusMessage:
    """Forget all that is held against a principal: its `party` in the list (`key:5f0c...`), or `name`."""
    released = await service_of(request).release_penalty(party, caller)
    if released is None:
        raise NotFoundError(
            f"nothing is held against {party[:80]}", hint="GET penalties lists who waits."
        )
    return StatusMessage(status="success", message=f"{released} may run statements again.")
