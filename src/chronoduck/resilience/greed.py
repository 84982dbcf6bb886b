"""Who fills the volume of the database while others want to write, too.

Below twice the floor of free space, and while the database grows so fast that it would soon reach the
floor, the party that has written the most has to stop; everybody else goes on down to the floor itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

__all__ = ["Greed"]

_FLOORS = 2.0
"""Below so many floors of free space somebody may have to stop."""
_GO_ON = 1.05
"""All go on from so much more than that: not on and off with every file."""
_SOON_SECONDS = 10.0
_MEASURED_SECONDS = 0.2
"""How long the database must have grown, so that its rate says something."""
_HALF_LIFE_SECONDS = 30.0
_KEPT_SECONDS = 1.0
_LEAST_SECONDS = 0.25
"""Whoever wrote for less did not fill the volume."""
_FORGET_SECONDS = 600.0


class Greed:
    """Weighs the seconds that parties write. Times are seconds on a clock that never goes back."""

    def __init__(self, floor_bytes: int) -> None:
        self._floor = floor_bytes
        self._written: dict[str, tuple[float, float]] = {}
        """For each party when it last wrote, and its seconds as they counted then."""
        self._sizes: deque[tuple[float, int]] = deque()
        self.stopped: set[str] = set()
        """Those who write nothing for now."""

    def note(self, now: float, party: str, seconds: float) -> None:
        """Count what a party wrote until now."""
        self._written[party] = now, self._score(now, party) + seconds

    def look(
        self,
        now: float,
        free: int,
        size: int,
        writing: Mapping[str, float],
        exempt: frozenset[str] = frozenset(),
        free_inside: int = 0,
    ) -> str | None:
        """Return who has to stop from now on.

        ``size``: of the database, with its WAL; ``free_inside``: what of it the next rows may take;
        ``writing``: since how many seconds a party writes now.
        """
        for party in [
            name for name, (at, _) in self._written.items() if now - at > _FORGET_SECONDS
        ]:
            del self._written[party]
        rate = self._rate(now, size)
        if free + free_inside >= self._floor * _FLOORS * _GO_ON or not self._others(
            self.stopped, writing
        ):
            self.stopped.clear()
        if free >= self._floor * _FLOORS or rate * _SOON_SECONDS <= max(0, free - self._floor):
            return None
        scores = {
            party: self._score(now, party) + writing.get(party, 0.0)
            for party in (self._written.keys() | writing.keys()) - self.stopped - exempt
        }
        greediest = max(scores, key=lambda party: scores[party], default=None)
        if greediest is None or scores[greediest] < _LEAST_SECONDS:
            return None
        if not self._others({greediest, *self.stopped}, writing):
            return None  # it takes only what nobody else asks for
        self.stopped.add(greediest)
        self._sizes.clear()  # what it still writes while it is being stopped is nobody else's
        return greediest

    def _others(self, besides: set[str], writing: Mapping[str, float]) -> bool:
        return not (self._written.keys() | writing.keys()) <= besides

    def _score(self, now: float, party: str) -> float:
        at, seconds = self._written.get(party, (now, 0.0))
        return float(seconds * 0.5 ** ((now - at) / _HALF_LIFE_SECONDS))

    def _rate(self, now: float, size: int) -> float:
        """Return by how many bytes a second the database grows; 0 while that is not known."""
        self._sizes.append((now, size))
        while now - self._sizes[0][0] > _KEPT_SECONDS:
            self._sizes.popleft()
        at, before = self._sizes[0]
        return (size - before) / (now - at) if now - at >= _MEASURED_SECONDS else 0.0
