"""Who comes within one second: so many of one client and so many in total, the rest is turned away.

Counting is all that is done for each: who floods must cost less than a request.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

__all__ = ["Newcomers"]

_REMEMBERED = 4096


class Newcomers:
    """Counts by whole seconds; memory is bounded by the total. For one thread."""

    def __init__(self, per_client: int, total: int) -> None:
        self._per_client = per_client
        self._total = total
        self._second = -1
        self._by_client: Counter[str] = Counter()
        self._strangers = 0
        self._known: OrderedDict[str, None] = OrderedDict()

    def know(self, client: str) -> None:
        """Remember a client that had business here: the total of strangers does not count for it."""
        self._known[client] = None
        self._known.move_to_end(client)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def lets_in(self, client: str, now: float) -> bool:
        """Count one that comes at ``now`` (seconds); whether it may."""
        second = int(now)
        if second != self._second:
            self._second, self._strangers = second, 0
            self._by_client.clear()
        if self._by_client[client] >= self._per_client:
            return False
        if client not in self._known:
            if self._strangers >= self._total:
                return False
            self._strangers += 1
        self._by_client[client] += 1
        return True
