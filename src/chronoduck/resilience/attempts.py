"""Failed attempts of many origins at many targets: after some, the next one must wait."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["AttemptLimit"]

_MAX_RECORDS = 20_000
_FORGET_SECONDS = 600.0
"""A pair without failures for so long begins anew."""
_PROVEN_SECONDS = 3_600.0


@dataclass(slots=True)
class _Record:
    failures: int = 0
    failed_at: float = 0.0
    blocked_until: float = 0.0
    proven_until: float = 0.0


class AttemptLimit:
    """Counts by pairs of origin and target; memory is bounded whatever comes. Times in seconds.

    Attempts that are refused unseen do not count, so a wait never grows by itself. An origin that has
    proven itself for a target within the last hour is not made to wait for that target: its neighbour
    behind the same address may be the one who guesses.
    """

    def __init__(self, max_failures: int, first_wait: float, max_wait: float) -> None:
        self._max_failures = max_failures
        self._first_wait = first_wait
        self._max_wait = max_wait
        self._records: OrderedDict[tuple[str, str], _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def wait(self, origin: str, target: str, now: float) -> float:
        """Return how long attempts are refused unseen; 0: this one may be looked at."""
        record = self._records.get((origin, target))
        if record is None or record.proven_until > now:
            return 0.0
        return max(0.0, record.blocked_until - now)

    def fail(self, origin: str, target: str, now: float) -> float:
        """Count a failure and return for how long the pair must wait now; 0: not at all.

        From the allowed number on, each failure doubles the wait.
        """
        record = self._take(origin, target)
        if now - record.failed_at > _FORGET_SECONDS + self._max_wait:
            record.failures = 0
        record.failures += 1
        record.failed_at = now
        excess = record.failures - self._max_failures
        if excess >= 0:
            # Beyond 2^30 the cap has long won.
            seconds = min(self._max_wait, self._first_wait * 2.0 ** min(excess, 30))
            record.blocked_until = max(record.blocked_until, now + seconds)
        return max(0.0, record.blocked_until - now)

    def succeed(self, origin: str, target: str, now: float) -> None:
        """Note that the origin has what the target asks for."""
        record = self._take(origin, target)
        record.failures = 0
        record.blocked_until = 0.0
        record.proven_until = now + _PROVEN_SECONDS

    def _take(self, origin: str, target: str) -> _Record:
        pair = (origin, target)
        record = self._records.get(pair)
        if record is None:
            record = self._records[pair] = _Record()
            if len(self._records) > _MAX_RECORDS:
                self._records.popitem(last=False)
        else:
            self._records.move_to_end(pair)
        return record
