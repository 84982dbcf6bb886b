"""What the service and its replicator tell each other: one JSON object per line, on two pipes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import orjson

__all__ = ["ReplicaState", "ReplicaStatus", "to_line"]


class ReplicaState(StrEnum):
    """What the replicator does."""

    STARTING = "starting"
    SYNCING = "syncing"
    """A new generation is being shipped; the one before it, with its log, can be restored."""
    FOLLOWING = "following"
    FAILING = "failing"
    """The store does not answer; it is tried again."""
    REFUSED = "refused"
    """It may not go on: another service writes, or the files are not those of the replica."""
    STOPPED = "stopped"


@dataclass
class ReplicaStatus:
    """How the replica is, as its process sees it."""

    state: ReplicaState = ReplicaState.STARTING
    error: str = ""
    """Why it fails or was refused."""
    hint: str = ""
    generation: str = ""
    commits: int = 0
    """Transactions in the replica since it began."""
    last_point_us: int = 0
    """Time of the newest restore point; 0 before the first."""
    caught_up_us: int = 0
    """When everything was in the replica last; 0 before the first time."""
    unshipped_bytes: int = 0
    """Of the local log."""
    iteration: int = -1
    """The checkpoint that the newest generation begins with."""
    is_base_complete: bool = False
    progress_done: int = 0
    """Blocks of the scan under way."""
    progress_total: int = 0
    shipped_bytes: int = 0
    """Since the process began."""
    store_bytes: int = 0
    """At the last look."""
    generations: int = 0
    oldest_point_us: int = 0
    requests: int = 0
    """Calls to the store since the process began: what it costs."""
    failures: int = 0
    """Of them."""
    notice: str = ""
    """What the store has lost or spoilt; older points may be gone although the replica follows."""
    proven_us: int = 0
    """Time of the newest point of which a copy was opened, checked and checkpointed."""
    replayed_us: int = 0
    """Time of the newest point whose WAL was replayed on a copy."""
    store_scrubbed_us: int = 0
    """When the last round over all blobs in the store ended; 0 before the first."""
    store_scrub_share: float = 0.0
    retention_error: str = ""
    """Why the last retention deleted nothing; the replica grows meanwhile."""
    scrubbed_us: int = 0
    """When the last round over the whole file ended; 0 before the first."""
    scrub_share: float = 0.0
    """How far the round under way is, 0..1."""
    is_gone: bool = False
    """Whether nothing is in the store where the replica was."""
    damaged_blocks: int = 0
    """Blocks of the local file that the scrub found damaged."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON fields."""
        return asdict(self)


def to_line(kind: str, **fields: Any) -> bytes:
    """Return a message."""
    return orjson.dumps({"kind": kind, **fields}, option=orjson.OPT_APPEND_NEWLINE)
