"""One piece of work that outlives its request, as everybody sees it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

__all__ = ["Job", "JobState"]

_TELLING_SHARE = 0.01
"""From which on the rest of the time is estimated."""


class JobState(StrEnum):
    """How far a job is."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The process ended first."""


@dataclass
class Job:
    """Times are Unix times; ``owner`` is the id of the principal whose job it is, empty: operators'."""

    id: str
    kind: str
    owner: str = ""
    state: JobState = JobState.RUNNING
    step: str = ""
    done: int = 0
    total: int = 0
    started_at: float = field(default_factory=time.time)
    ended_at: float | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    keep_seconds: float | None = None
    """How long it is kept after its end; None: as long as others."""

    def __post_init__(self) -> None:
        self.state = JobState(self.state)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state is not JobState.RUNNING

    def as_dict(self, *, tells_paths: bool = False) -> dict[str, Any]:
        """Return what the API shows.

        ``tells_paths``: also where files lie on the server, which is for operators; others get the
        folder's name.
        """
        end = self.ended_at if self.ended_at is not None else time.time()
        seconds = max(0.0, end - self.started_at)
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state.value,
            "progress": {
                "step": self.step,
                "done": self.done,
                "total": self.total,
                **self._estimate(seconds),
            },
            "started_at": _iso(self.started_at),
            "ended_at": None if self.ended_at is None else _iso(self.ended_at),
            "seconds": round(seconds, 3),
            "result": self.result if tells_paths else self._result_without_path(),
            "error": self.error,
        }

    def _result_without_path(self) -> dict[str, Any] | None:
        result = self.result
        place = (result or {}).get("url")
        if result is None or not isinstance(place, str) or "://" in place:
            return result
        return {**result, "url": place.rpartition("/")[2]}

    def _estimate(self, seconds: float) -> dict[str, float | None]:
        if self.state is JobState.SUCCEEDED:
            return {"fraction": 1.0, "eta_seconds": 0.0}
        fraction = min(1.0, self.done / self.total) if self.total else None
        if fraction is None or fraction < _TELLING_SHARE or self.has_ended:
            return {"fraction": fraction, "eta_seconds": None}
        return {
            "fraction": round(fraction, 4),
            "eta_seconds": round(seconds * (1 - fraction) / fraction, 1),
        }


def _iso(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds")
