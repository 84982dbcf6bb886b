"""``GET /metrics``: what Prometheus scrapes."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from chronoduck.api.access import answer_public, service_of
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
    accept, service = request.headers.get("accept", ""), service_of(request)

    async def make(shows_all: bool) -> Response:
        page, media_type = await service.render_metrics(accept, show_versions=shows_all)
        return Response(page, headers={"Content-Type": media_type})

    return await answer_public(request, f"metrics {service.metrics.media_type(accept)}", make)
