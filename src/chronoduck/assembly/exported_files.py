"""One run of an export into files: written as any export is, and the oldest ones removed after it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from typing import Any

from chronoduck.errors import NotFoundError
from chronoduck.export import ExportWriteError, FilesDeclaration
from chronoduck.export.state import ExportState
from chronoduck.service.exports import Exports, ExportWish
from chronoduck.service.jobs import JobRegistry, Progress
from chronoduck.service.records import Caller

__all__ = ["export_files"]

_LOOK_SECONDS = 0.2
_KEPT_SECONDS = 100 * 365 * 86_400.0
"""Until newer ones are there, not for a time."""


async def export_files(
    declared: FilesDeclaration,
    state: ExportState,
    exports: Exports,
    jobs: JobRegistry,
    caller: Caller,
    show: Progress,
) -> tuple[ExportState, dict[str, Any]]:
    """Write the files; return the state afterwards and what is told of them.

    Raises:
        ExportWriteError: they were not written; none of them is left.
        DuckDBException: the query is refused, or there is no place for exports.
    """
    started = time.monotonic()
    wish = ExportWish(
        declared.query,
        None,
        declared.format,
        declared.partition_by,
        declared.name,
        exports.longest_seconds,
    )
    job = await exports.start(wish, exports.options, caller, _KEPT_SECONDS)
    try:
        while not job.has_ended:
            await jobs.wait(job, _LOOK_SECONDS)
            show(job.step, job.done, job.total)
    except asyncio.CancelledError:
        await asyncio.shield(jobs.cancel(job.id))
        raise
    if job.error is not None or job.result is None:
        error = job.error or {"detail": f"it was {job.state.value}", "hint": ""}
        raise ExportWriteError(error["detail"], hint=error["hint"])
    kept = (*state.exports, job.id)
    removed, kept = kept[: -declared.keep], kept[-declared.keep :]
    for old in removed:
        with contextlib.suppress(NotFoundError):  # somebody deleted it
            await jobs.cancel(old)
    rows, seconds = job.result["row_count"], round(time.monotonic() - started, 3)
    ended = state.ended(
        sent=rows, deleted=0, exports=kept, documents=rows, last_how="files", notes=()
    ).timed(datetime.now(UTC).isoformat(timespec="milliseconds"), seconds)
    return ended, {
        "export": declared.name,
        "how": "files",
        "rows": rows,
        "url": job.result["url"],
        "files": job.result["files"],
        "bytes": job.result["bytes"],
        "job": job.id,
        "removed": len(removed),
        "seconds": seconds,
        "notes": [],
    }
