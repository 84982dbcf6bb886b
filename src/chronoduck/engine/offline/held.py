"""The beginning of a WAL that a replica holds: nothing of it may be left out of the database."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from chronoduck.units import format_bytes, format_count

__all__ = ["HeldWal"]


@dataclass(frozen=True)
class HeldWal:
    """How much of the local WAL a replica holds."""

    size: int
    """In bytes."""
    sha256: str
    """Of these bytes."""
    place: str
    """Where the replica is."""
    transactions: int | None = None
    """In these bytes; None when only their size is known."""

    def is_in(self, log: bytes) -> bool:
        """Whether the log begins with all of it."""
        return len(log) >= self.size and (
            hashlib.sha256(log[: self.size]).hexdigest() == self.sha256
        )

    @property
    def sentence(self) -> str:
        """Say what the replica holds."""
        if self.transactions is None:
            return f"the replica in {self.place} holds its first {format_bytes(self.size)}"
        count = format_count(self.transactions, "transaction")
        return f"the replica in {self.place} holds its first {count}"
