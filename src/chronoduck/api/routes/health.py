"""Health, statistics, the breaker and the start: what an operator asks first."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from chronoduck.api.access import Admin, answer_public, is_leaving, service_of
from chronoduck.api.answers import Alive, Health, PerformanceMetrics, Readiness, Statistics
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.responses import JsonResponse
from chronoduck.api.schemas import StatusMessage

__all__ = ["control_router", "router"]

router = APIRouter(tags=["operations"], route_class=ProblemRoute)
control_router = APIRouter(tags=["operations"], route_class=ProblemRoute)
"""What is not public."""
_WELL = ("healthy", "degraded")
_UNWELL = "Not well; the body says why."


@router.head("/health", include_in_schema=False)
@router.get(
    "/health",
    operation_id="health",
    summary="Is it well?",
    response_model=Health,
    responses={503: {"model": Health, "description": _UNWELL}},
)
async def health(request: Request) -> Response:
    """Public. 200 when healthy or degraded, 503 otherwise; every reason comes with what to do."""
    service = service_of(request)

    async def make(shows_all: bool) -> Response:
        report = await service.health_check()
        if not shows_all:
            del report["database_path"], report["sandbox"]
        return JsonResponse(report, status_code=200 if report["status"] in _WELL else 503)

    return await answer_public(request, "health", make)


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live", operation_id="live", summary="Does the process answer?")
async def live() -> Alive:
    """Public. Never touches the engine: a busy service is not a dead one."""
    return Alive(status="alive")


@router.head("/health/ready", include_in_schema=False)
@router.get(
    "/health/ready",
    operation_id="ready",
    summary="Can it take statements?",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": _UNWELL}},
)
async def ready(request: Request) -> Response:
    """Public. 503 while starting, healing, about to shut down or with an open breaker."""
    service = service_of(request)

    async def make(_: bool) -> Response:
        status = (await service.health_check())["status"]
        is_ready = status in _WELL and not is_leaving(request)
        return JsonResponse(
            {"status": "ready" if is_ready else "not_ready", "health": status},
            status_code=200 if is_ready else 503,
        )

    # Who leaves says so at once, not after a second.
    return await answer_public(request, f"ready {is_leaving(request)}", make)


@router.get(
    "/statistics",
    operation_id="statistics",
    summary="Counters and durations",
    response_model=Statistics,
)
async def statistics(request: Request) -> Response:
    """Public. No statement's text is in it; the names of templates are told to admins alone."""
    service = service_of(request)

    async def make(shows_all: bool) -> Response:
        report = await service.get_statistics()
        if not shows_all:
            del report["latency"]["by_template"]
        return JsonResponse(report)

    return await answer_public(request, "statistics", make)


@router.get(
    "/templates/performance-metrics",
    operation_id="performance_metrics",
    summary="Performance in short",
    response_model=PerformanceMetrics,
)
async def performance_metrics(request: Request) -> Response:
    """Public. The counters that dashboards read."""
    service = service_of(request)

    async def make(_: bool) -> Response:
        return JsonResponse(await service.get_performance_metrics())

    return await answer_public(request, "performance", make)


@control_router.post(
    "/circuit-breaker/reset",
    operation_id="reset_circuit_breaker",
    summary="Close the circuit breaker",
)
async def reset_circuit_breaker(request: Request, caller: Admin) -> StatusMessage:
    """Close the breaker and forget its failures, once their cause is mended."""
    service = service_of(request)
    service.circuit_breaker.reset()
    await service.audit.act_now("breaker_reset", caller)
    return StatusMessage(status="success", message="The circuit breaker is closed.")


@control_router.post("/initialize", operation_id="initialize", summary="Open the database")
async def initialize(request: Request, caller: Admin) -> StatusMessage:
    """Open the database if it is not open; does nothing otherwise."""
    service = service_of(request)
    await service.initialize()
    await service.audit.act_now("initialized", caller)
    return StatusMessage(status="success", message="The database is open.")
