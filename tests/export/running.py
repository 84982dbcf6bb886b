"""Exports of a service in this process, run to their end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from chronoduck.assembly import DuckDBService

__all__ = ["MakeService", "run_export"]

MakeService = Callable[..., AbstractAsyncContextManager[DuckDBService]]


async def run_export(
    service: DuckDBService, name: str = "items", expect: str = "succeeded", **wish: Any
) -> dict[str, Any]:
    """Run an export to its end and return its result, or its error."""
    job = (await service.parts()).declared_exports.begin(name, **wish)
    await (await service.parts()).jobs.wait(job)
    assert job.state.value == expect, job.as_dict()
    facts = job.result if expect == "succeeded" else job.error
    return facts or {}
