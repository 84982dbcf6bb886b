"""Disk space that a kind of files may take: together, and of one principal.

Whoever writes claims the bytes first. What was claimed is given back when the file is gone. So pieces
of work that begin together share what is left, instead of each having all of it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from chronoduck.errors import DuckDBException, StatementCancelledError

__all__ = ["SpaceBudget", "SpaceClaim"]


def _pass(count: int) -> None:
    """Refuse nothing."""


class SpaceBudget:
    """Bytes by owner, never more than the total. Safe from any thread."""

    def __init__(
        self,
        total_bytes: int,
        refusal: Callable[[bool], DuckDBException],
        *,
        share: float = 1.0,
        check_volume: Callable[[int], None] = _pass,
    ) -> None:
        """``refusal`` makes the error; it is told whether the owner's share is used up, or all.

        ``share``: how much of the total one owner may have, from 0 to 1. ``check_volume`` raises when
        so many bytes more would leave too little on the disk; it is asked before each claim.
        """
        self.total_bytes = total_bytes
        self.share_bytes = int(total_bytes * share)
        self._refusal = refusal
        self._check_volume = check_volume
        self._lock = threading.Lock()
        self._by_owner: Counter[str] = Counter()
        self.used_bytes = 0
        self.refused = 0
        """Claims that were refused."""

    def owners(self) -> set[str]:
        """Return who holds bytes now."""
        with self._lock:
            return set(self._by_owner)

    def used_by(self, owner: str) -> int:
        """Return the bytes that an owner holds."""
        return self._by_owner[owner]

    def limit_of(self, *, is_capped: bool) -> int:
        """Return the bytes that one owner may hold."""
        return self.share_bytes if is_capped else self.total_bytes

    def get_status(self) -> dict[str, int]:
        """Return bytes and counters; nobody is named."""
        return {
            "used_bytes": self.used_bytes,
            "limit_bytes": self.total_bytes,
            "refused": self.refused,
        }

    def claim(self, owner: str, *, is_capped: bool = True) -> SpaceClaim:
        """Return an empty claim of the owner; ``is_capped``: its share is all that it may have."""
        return SpaceClaim(self, owner, is_capped=is_capped)

    def check(self, owner: str, *, is_capped: bool = True, count: int = 1) -> None:
        """Refuse work for which nothing is left.

        Raises:
            DuckDBException: what ``refusal`` or ``check_volume`` says.
        """
        self._check_volume(count)
        with self._lock:
            self._check(owner, count, is_capped=is_capped)

    def _check(self, owner: str, count: int, *, is_capped: bool) -> None:
        is_over_share = is_capped and self._by_owner[owner] + count > self.share_bytes
        if is_over_share or self.used_bytes + count > self.total_bytes:
            self.refused += 1
            raise self._refusal(is_over_share)

    def _take(self, claim: SpaceClaim, count: int) -> None:
        self._check_volume(count)
        with self._lock:
            if claim.is_over:
                raise StatementCancelledError("nobody wants what was to be written any more")
            self._check(claim.owner, count, is_capped=claim.is_capped)
            self._add(claim, count)

    def _hold(self, claim: SpaceClaim, count: int, *, is_over: bool) -> None:
        with self._lock:
            claim.is_over = claim.is_over or is_over
            self._add(claim, count - claim.held_bytes)

    def _add(self, claim: SpaceClaim, count: int) -> None:
        claim.held_bytes += count
        self.used_bytes += count
        self._by_owner[claim.owner] += count
        if not self._by_owner[claim.owner]:
            del self._by_owner[claim.owner]


class SpaceClaim:
    """What one file, or several that belong together, has of a budget."""

    __slots__ = ("_budget", "held_bytes", "is_capped", "is_over", "owner")

    def __init__(self, budget: SpaceBudget, owner: str, *, is_capped: bool) -> None:
        self._budget = budget
        self.owner = owner
        self.is_capped = is_capped
        self.held_bytes = 0
        self.is_over = False

    def take(self, count: int) -> None:
        """Claim so many bytes more, before they are written.

        Raises:
            DuckDBException: they are not there; nothing is claimed then.
            StatementCancelledError: the claim was given back meanwhile: a thread that nobody waits
                for any more writes nothing either.
        """
        self._budget._take(self, count)

    def hold(self, count: int) -> None:
        """Have exactly what the disk has, whatever the budget says."""
        self._budget._hold(self, count, is_over=False)

    def release(self) -> None:
        """Give all back for good. Idempotent."""
        self._budget._hold(self, 0, is_over=True)
