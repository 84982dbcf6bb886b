"""Files that a recovery set aside: no fault, but they may hold the only copy of something."""

from __future__ import annotations

from collections.abc import Sequence

from chronoduck.engine.offline import SetAside
from chronoduck.monitoring.health import Finding, Status

__all__ = ["set_aside_finding"]


def set_aside_finding(found: Sequence[SetAside]) -> Finding:
    """Tell of them until somebody removes them; their names are for the doctor."""
    if not found:
        return Finding("set_aside", Status.HEALTHY)
    rests = sum(each.is_rest for each in found)
    kinds = [
        f"{rests} with transactions that a start left out" if rests else "",
        f"{len(found) - rests} of a database that a recovery replaced"
        if rests < len(found)
        else "",
    ]
    return Finding(
        "set_aside",
        Status.HEALTHY,
        f"Files set aside: {', '.join(filter(None, kinds))}",
        "`chronoduck doctor` names them and what they hold. Remove them once nothing in them is missed.",
    )
