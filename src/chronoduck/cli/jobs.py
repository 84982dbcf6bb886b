"""A job of the running service, followed to its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from chronoduck.cli.remote import RemoteService
from chronoduck.client.problems import error_of
from chronoduck.errors import ServiceUnavailableError

__all__ = ["follow_job"]

_LOOK_SECONDS = 0.2


def follow_job(
    service: RemoteService, job: dict[str, Any], show: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Return the job's result; ``show`` gets its progress.

    Raises:
        DuckDBException: it failed.
        ServiceUnavailableError: it was cancelled, or the service went away.
    """
    while job["state"] == "running":
        time.sleep(_LOOK_SECONDS)
        job = service.call("GET", f"/jobs/{job['id']}")
        progress = job["progress"]
        show(progress["step"], progress["done"], progress["total"])
    if job["error"]:
        raise error_of(job["error"])
    if job["state"] == "cancelled":
        raise ServiceUnavailableError(f"the {job['kind']} was cancelled")
    result: dict[str, Any] = job["result"]
    return result
