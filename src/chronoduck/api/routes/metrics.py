"""``GET /metrics``: what Prometheus scrapes."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from chronoduck.api.access import service_of, shows_all
from chronoduck.api.problems import ProblemRoute

__all__ = ["router"]

router = APIRouter(tags=["operations"], route_class=ProblemRoute)


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Prometheus metrics",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    response_class=Response,
)
async def metrics(request: Request) -> Response:
    """Public. Text or OpenMetrics by `Accept`; versions only for admins, as in GET health."""
    page, media_type = await service_of(request).render_metrics(
        request.headers.get("accept", ""), show_versions=await shows_all(request)
    )
    return Response(page, headers={"Content-Type": media_type})
