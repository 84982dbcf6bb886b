"""``GET replication``: how far the replica is behind, and what it holds."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from chronoduck.api.access import Authenticated, service_of
from chronoduck.api.responses import JsonResponse

__all__ = ["router"]

router = APIRouter(tags=["operations"])


@router.get("/replication", operation_id="replication", summary="How safe is the data?")
async def replication(request: Request, caller: Authenticated) -> Response:
    """Show lag, restore points, the store's size and requests, scrub and checkpoints."""
    return JsonResponse(await service_of(request).get_replication_status())
