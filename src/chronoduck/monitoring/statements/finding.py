"""What health says of the query log."""

from __future__ import annotations

from typing import Any

from chronoduck.monitoring.health import Finding, Status

__all__ = ["query_log_finding"]


def query_log_finding(status: dict[str, Any]) -> Finding:
    """Return degraded while statements do not reach the log; the statements themselves run."""
    if not status["is_failing"]:
        return Finding("query_log", Status.HEALTHY)
    missing = f"; {status['dropped']} are missing" if status["dropped"] else ""
    return Finding(
        "query_log",
        Status.DEGRADED,
        f"Statements cannot be written to the query log{missing}",
        "Free space on its volume, or see query_log_failed in the log; it is tried again by itself.",
    )
