"""One answer to "is it well?", with the reason and what to do for every part that is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

__all__ = ["Finding", "Probe", "Status", "overall_status"]


class Status(StrEnum):
    """How well a part or the whole is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    NOT_INITIALIZED = "not_initialized"


@dataclass(frozen=True)
class Finding:
    """What a probe found. Reason and hint are public: no path, no SQL, no version in them."""

    component: str
    status: Status
    reason: str = ""
    hint: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return it as JSON fields."""
        return asdict(self)


Probe = Callable[[], Finding]
"""Looks at one part; must not block and not raise."""

_SEVERITY = [Status.HEALTHY, Status.DEGRADED, Status.UNHEALTHY, Status.NOT_INITIALIZED]


def overall_status(findings: Sequence[Finding]) -> Status:
    """Return the worst status that was found."""
    return max(
        (finding.status for finding in findings), key=_SEVERITY.index, default=Status.HEALTHY
    )
