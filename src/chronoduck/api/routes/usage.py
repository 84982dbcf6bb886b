"""``GET me`` and ``GET usage``: what a principal may use, uses and runs."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request

from chronoduck.api.access import Admin, Uncounted, authenticator_of, service_of
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.routes.running import describe_running
from chronoduck.api.schemas import Me, PrincipalUsage
from chronoduck.assembly import DuckDBService
from chronoduck.assembly.parts import Parts
from chronoduck.auth.keys import written_grants
from chronoduck.principals import Principal, Role

__all__ = ["router"]

router = APIRouter(tags=["operations"], route_class=ProblemRoute)
_UNKNOWN = "unknown"
"""Role of whose key was revoked, or whose token has not come since the start."""


@router.get("/me", operation_id="get_me", summary="Who you are and what you may use")
async def get_me(request: Request, caller: Uncounted) -> Me:
    """Show your role, your limits, what you use of them, and your running statements.

    It does not count as a request and is answered when nothing is left, too.
    """
    service = service_of(request)
    parts = await service.parts()
    runner = parts.runner
    usage = _with_space(service.quotas.usage_of(caller.principal), service, parts)
    mine = [
        running
        for running in runner.list_running()
        if running.caller.principal.id == caller.principal.id
    ]
    shown = await asyncio.to_thread(lambda: list(map(describe_running, mine)))
    grants = caller.principal.writes
    return Me(**usage, write=None if grants is None else written_grants(grants), running=shown)


@router.get("/usage", operation_id="get_usage", summary="What every principal uses")
async def get_usage(request: Request, caller: Admin) -> list[PrincipalUsage]:
    """Show limits and use of everybody, the one seen last first; for admins.

    At the end: who has not come since the start, but holds files or used something before it.
    """
    service = service_of(request)
    parts = await service.parts()
    quotas, keys = service.quotas, authenticator_of(request).keys
    absent = sorted(
        each for each in quotas.absent() | parts.space.owners() if not quotas.knows(each)
    )
    found = quotas.usage()
    for principal_id in absent:
        principal = keys.principal_of(principal_id.removeprefix("key:"))
        usage = quotas.usage_of_absent(
            principal or Principal(principal_id, Role.VIEWER, principal_id)
        )
        found.append(usage if principal else usage | {"role": _UNKNOWN})
    return [PrincipalUsage(**_with_space(each, service, parts)) for each in found]


def _with_space(usage: dict[str, Any], service: DuckDBService, parts: Parts) -> dict[str, Any]:
    """Add the disk space that the principal's files take, and what it wrote into the audit trail."""
    role = usage["role"]
    used = usage["usage"]
    space = parts.space.used_by(usage["id"], is_capped=role != Role.ADMIN)
    for name, (held, limit) in space.items():
        used[f"{name}_bytes"] = {
            "used": held,
            "limit": limit,
            "remaining": max(0, limit - held),
            "window_seconds": None,
            "resets_in_seconds": 0.0,
        }
    used["audit_bytes"] = service.audit.used_by(usage["id"], role)
    return usage
