"""How often the server's process was replaced, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from chronoduck.monitoring.health import Finding, Status
from chronoduck.supervision.running_record import LostWork

__all__ = ["RestartHistory", "restart_finding"]

_RECENT = timedelta(minutes=5)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class RestartHistory:
    """What the supervisor told this process of those before it; ``last`` has ``at`` and ``reason``."""

    is_supervised: bool = False
    count: int = 0
    last: Mapping[str, Any] | None = None
    lost: LostWork = field(default_factory=LostWork)
    """What the last one worked on when it died."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON fields, fit for everybody's eyes."""
        return {
            "supervised": self.is_supervised,
            "count": self.count,
            "last_at": self.last["at"] if self.last else None,
            "last_reason": self.last["reason"] if self.last else None,
        }


def restart_finding(history: Mapping[str, Any], now: Callable[[], datetime] = _now) -> Finding:
    """Return degraded for five minutes after a restart: callers may have met it."""
    last_at = history["last_at"]
    if last_at is None or now() - datetime.fromisoformat(last_at) > _RECENT:
        return Finding("restarts", Status.HEALTHY)
    return Finding(
        "restarts",
        Status.DEGRADED,
        f"The server's process was replaced {history['count']} times, last at {last_at}: "
        f"{history['last_reason']}",
        "The log and the audit trail name the statements that ran (statement_lost) and who waits for "
        "it (penalty_boxed); see `chronoduck runbook restarted-by-itself`.",
    )
