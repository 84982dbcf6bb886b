"""Whether a checkpoint is due, by how much a start would have to replay."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from chronoduck.settings import CheckpointSettings

__all__ = ["LogState", "Urgency", "urgency"]

_OVERDUE = 8.0
"""A checkpoint that waits for the replica is run all the same from so many times the limits on."""


class Urgency(IntEnum):
    """Whether a checkpoint should be run."""

    NONE = 0
    DUE = 1
    """If the replica is ready for it."""
    OVERDUE = 2
    """In any case: replay at the next start would take too long."""


@dataclass(frozen=True)
class LogState:
    """How much a start would have to replay."""

    size: int
    """Bytes."""
    commits: int
    age_seconds: float
    """Of its oldest transaction."""
    replay_seconds: float = 0.0
    """How long a start would need, as estimated."""


def urgency(log: LogState, limits: CheckpointSettings) -> Urgency:
    """Return whether a checkpoint is due."""
    if not log.size:
        return Urgency.NONE
    share = max(
        log.size / limits.log_size,
        log.commits / limits.commits,
        log.replay_seconds / limits.replay,
        # Age alone makes nothing worse: it is never overdue.
        min(1.0, log.age_seconds / limits.interval),
    )
    return Urgency.OVERDUE if share >= _OVERDUE else Urgency(share >= 1.0)
