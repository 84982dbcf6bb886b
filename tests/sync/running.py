"""Syncs of a service in this process, run to their end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from chronoduck.assembly import DuckDBService

__all__ = ["SOURCE", "MakeService", "run_sync"]

MakeService = Callable[..., AbstractAsyncContextManager[DuckDBService]]
SOURCE = '[source.platform]\ndsn_env = "TEST_PLATFORM_DSN"\n'


async def run_sync(service: DuckDBService, name: str, expect: str = "succeeded") -> dict[str, Any]:
    """Run a sync to its end and return its result, or its error."""
    job = (await service.parts()).syncs.begin(name)
    await (await service.parts()).jobs.wait(job)
    assert job.state.value == expect, job.as_dict()
    facts = job.result if expect == "succeeded" else job.error
    return facts or {}
