"""``GET statistics/statements``: which statements cost the most, by normalised text."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request

from chronoduck.api.access import Admin, service_of
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.schemas import ExpensiveStatement

__all__ = ["router"]

router = APIRouter(tags=["operations"], route_class=ProblemRoute)
_Order = Literal[
    "total_time", "max_time", "mean_time", "count", "errors", "rows", "bytes", "memory", "last_seen"
]


@router.get(
    "/statistics/statements",
    operation_id="statement_statistics",
    summary="The most expensive statements",
)
async def statement_statistics(
    request: Request,
    caller: Admin,
    order: Annotated[_Order, Query(description="What is the most first.")] = "total_time",
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> list[ExpensiveStatement]:
    """List statements of everybody since the start, those of one shape together; for admins.

    Their texts have `?` for literals and `***` for secrets.
    """
    found = await service_of(request).get_statement_statistics(order, limit)
    return [ExpensiveStatement(**each) for each in found]
