"""How far the newest generation is in the replica, as the shipper keeps it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from chronoduck.engine.disk_format import WalCursor
from chronoduck.replication.records import Segment

__all__ = ["Generation", "Unsure"]


@dataclass
class Generation:
    """How far a generation is in the replica."""

    name: str
    headers: bytes
    commits_before: int
    cursor: WalCursor
    digest: hashlib._Hash
    """Of the log up to the cursor."""
    unsure: Unsure | None = None
    """A segment that the store may hold already: it is written again, byte for byte the same."""


@dataclass(frozen=True)
class Unsure:
    """A segment whose write was not answered."""

    segment: Segment
    piece: bytes
    cursor: WalCursor
    digest: hashlib._Hash
