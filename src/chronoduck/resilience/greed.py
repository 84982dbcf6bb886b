"""Which party may not write for now, because it fills the volume that others write to, too.

Below twice the floor of free space, and while the database grows so fast that it would soon reach the
floor, the party under which it has grown the most has to stop; the others go on down to the floor itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["Greed"]

_FLOORS = 2.0
"""Below so many floors of free space somebody may have to stop."""
_GO_ON = 1.05
"""All go on from so much more than that: not on and off with every file."""
_SOON_SECONDS = 10.0
_MEASURED_SECONDS = 0.2
"""How long the database must have grown, so that its rate says something."""
_KEPT_SECONDS = 1.0
_HALF_LIFE_SECONDS = 30.0
_LOOK_SECONDS = 0.25
"""How long somebody counts who writes at a look, and at most what ended since the last one."""
_NEAR = 0.8
"""Who has this share of the largest growth may have been there by chance: the next look may tell."""
_MOST_TIES = 3
_FORGET_SECONDS = 600.0


@dataclass(slots=True)
class _Written:
    """What a party wrote lately; it halves in half a minute."""

    at: float
    grown: float = 0.0
    """Bytes by which the database grew while it wrote, shared by time with those who wrote then, too."""

    def fade(self, now: float) -> None:
        part = 0.5 ** ((now - self.at) / _HALF_LIFE_SECONDS)
        self.at, self.grown = now, self.grown * part


class Greed:
    """Shares the growth of the database among those who write. Times are seconds on a steady clock."""

    def __init__(self, floor_bytes: int, exempt: frozenset[str] = frozenset()) -> None:
        """``exempt``: parties that never stop, and count for nobody else."""
        self._floor = floor_bytes
        self._exempt = exempt
        self._written: dict[str, _Written] = {}
        self._active: dict[str, float] = {}
        """Who wrote since the last look, and for how many seconds."""
        self._sizes: deque[tuple[float, int]] = deque()
        self._is_inside_unknown = True
        self._ties = 0
        self.stopped: set[str] = set()
        """Those who write nothing for now."""

    def note(self, party: str, seconds: float) -> None:
        """Count seconds that a party has written by now."""
        if party not in self._exempt:
            noted = self._active.get(party, 0.0) + seconds
            self._active[party] = min(_LOOK_SECONDS, noted)

    def look(
        self,
        now: float,
        free: int,
        size: int,
        writing: Collection[str],
        free_inside: int | None = None,
    ) -> str | None:
        """Return who has to stop from now on.

        ``size``: of the database, with its WAL. ``free_inside``: what its file has free for the next
        rows; while it is known, that is no part of ``size``. ``writing``: who writes now.
        """
        room = free + (free_inside or 0)
        if (free_inside is None) != self._is_inside_unknown:
            self._is_inside_unknown = free_inside is None
            self._sizes.clear()  # nobody wrote or deleted the difference
        for party in writing:
            self.note(party, _LOOK_SECONDS)
        self._share(now, size)
        rate = self._rate(now, size)
        is_alone = not self._written.keys() - self.stopped
        if is_alone or room >= self._floor * _FLOORS * _GO_ON:
            self.stopped.clear()
        if room >= self._floor * _FLOORS or rate * _SOON_SECONDS <= max(0, room - self._floor):
            return None
        greediest = self._greediest()
        if greediest is None or not self._written.keys() - self.stopped - {greediest}:
            return None  # it takes only what nobody else asks for
        self.stopped.add(greediest)
        self._sizes.clear()  # what it still writes while it is being stopped is nobody else's
        return greediest

    def _share(self, now: float, size: int) -> None:
        grown = max(0, size - self._sizes[-1][1]) if self._sizes else 0
        active, self._active = self._active, {}
        total = sum(active.values())
        for party, seconds in active.items():
            self._of(now, party).grown += grown * seconds / total if total else 0.0
        for party in [
            name for name, old in self._written.items() if now - old.at > _FORGET_SECONDS
        ]:
            del self._written[party]

    def _of(self, now: float, party: str) -> _Written:
        written = self._written.setdefault(party, _Written(now))
        written.fade(now)
        return written

    def _greediest(self) -> str | None:
        found = {name: old for name, old in self._written.items() if name not in self.stopped}
        most = max((old.grown for old in found.values()), default=0.0)
        if most <= 0:
            return None
        near = [name for name, old in found.items() if old.grown >= _NEAR * most]
        if len(near) > 1 and self._ties < _MOST_TIES:
            self._ties += 1  # the next look may tell them apart
            return None
        self._ties = 0
        return max(near, key=lambda name: found[name].grown)

    def _rate(self, now: float, size: int) -> float:
        """Return by how many bytes a second the database grows; 0 while that is not known."""
        self._sizes.append((now, size))
        while now - self._sizes[0][0] > _KEPT_SECONDS:
            self._sizes.popleft()
        at, before = self._sizes[0]
        return (size - before) / (now - at) if now - at >= _MEASURED_SECONDS else 0.0
