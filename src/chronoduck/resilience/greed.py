"""Which party may not write for now, because it fills the volume that others write to, too.

Below twice the floor of free space, and while the database grows so fast that it would soon reach the
floor, the party that surely made it grow the most has to stop; the others go on down to the floor itself.

DuckDB does not tell whose the growth is. So the files are measured whenever a write begins or ends, and
at each look: what they grew by in between is shared by evidence. If that does not tell whose it is, who
began to write last is held back, of those who may have caused half of it. Either the growth ends with
that, or those who are left can be told apart; who was held back without a cause then writes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from chronoduck.resilience.evidence import Evidence

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
_LATE_SECONDS = 2.0
"""How late the engine may tell what is free inside the file."""
_UNCLEAR_LOOKS = 6
"""After so many looks that do not tell whose the growth is, somebody is held back."""
_FORGET_SECONDS = 600.0


@dataclass(slots=True)
class _Seen:
    """When a party wrote first and last; one that does not write for long is new again."""

    first: float
    last: float


class Greed:
    """Judges by evidence who fills the volume. Times are seconds on a steady clock."""

    def __init__(
        self, floor_bytes: int, exempt: frozenset[str] = frozenset(), clerk: str | None = None
    ) -> None:
        """``exempt``: parties that never stop, and for which nobody else has to stop.

        ``clerk``: the one of them that commits rows for others; ``look`` is told for whom.
        """
        self._floor = floor_bytes
        self._exempt = exempt
        self._clerk = clerk
        self._clerks: list[tuple[int, frozenset[str]]] = []
        """What grew while the clerk was at work, and who else was."""
        self._loaded: frozenset[str] = frozenset()
        """For whom the clerk had committed rows at the last look."""
        self._seen: dict[str, _Seen] = {}
        self._evidence = Evidence(_HALF_LIFE_SECONDS)
        self._active: frozenset[str] = frozenset()
        """Who was at work when the files were measured last."""
        self._measured: int | None = None
        self._is_checkpoint = False
        self._recent: deque[tuple[float, frozenset[str] | None]] = deque()
        """Who was at work lately; None: a checkpoint was."""
        self._inside: int | None = None
        self._sizes: deque[tuple[float, int]] = deque()
        self._unclear = 0
        self.stopped: set[str] = set()
        """Those who write nothing for now."""
        self.held: set[str] = set()
        """Those of them of whom it is not sure that they made it grow."""

    def see(self, now: float, parties: Collection[str]) -> None:
        """Note who asks for space now."""
        for party in parties:
            if party not in self._exempt:
                self._seen.setdefault(party, _Seen(now, now)).last = now

    def measure(
        self,
        now: float,
        files_bytes: int | None,
        active: Collection[str],
        ended: Collection[str] = (),
        *,
        is_checkpoint: bool = False,
    ) -> None:
        """Share what the files of the database grew by since they were measured last.

        ``files_bytes``: None if they were not measured. ``active``: who is at work now. ``ended``: who
        has been in between. ``is_checkpoint``: one runs or has run, which rewrites what others wrote.
        """
        was_checkpoint, self._is_checkpoint = self._is_checkpoint or is_checkpoint, is_checkpoint
        parties = self._active.union(active, ended)
        self._recent.append((now, None if was_checkpoint else parties))
        if files_bytes is None:
            self._active, self._is_checkpoint = parties, was_checkpoint
            return
        self._active = frozenset(active)
        if self._measured is not None and not was_checkpoint:
            grown = files_bytes - self._measured
            if self._clerk in parties:
                self._clerks.append((max(0, grown), parties))
            else:
                self._evidence.add(now, grown, parties)
        self._measured = files_bytes

    def begin(self, party: str) -> None:
        """Note that a party may be at work from now on."""
        self._active |= {party}

    def look(
        self,
        now: float,
        free: int,
        size: int,
        free_inside: int | None = None,
        loaded: Collection[str] = (),
    ) -> str | None:
        """Return who has to stop from now on.

        ``size``: of the database, with its WAL. ``free_inside``: what its file has free for the next
        rows; while it is known, that is no part of ``size``. ``loaded``: for whom the clerk has committed
        rows since the last look.
        """
        room = free + (free_inside or 0)
        self._share_loads(now, loaded)
        self._share_inside(now, free_inside)
        for party in [
            name for name, seen in self._seen.items() if now - seen.last > _FORGET_SECONDS
        ]:
            del self._seen[party]
        rate = self._rate(now, size)
        if not self._seen.keys() - self.stopped or room >= self._floor * _FLOORS * _GO_ON:
            self.stopped.clear()
            self.held.clear()
        if room >= self._floor * _FLOORS or rate * _SOON_SECONDS <= max(0, room - self._floor):
            self._unclear = 0
            return None
        return self._choose()

    def _choose(self) -> str | None:
        writers = self._seen.keys() - self.stopped
        proven = self._evidence.proven(self._seen.keys() - (self.stopped - self.held))
        if proven is not None:
            if not writers - {proven} and not self.held - {proven}:
                return None  # it takes only what nobody else asks for
            self.stopped -= self.held  # it was not they, or not they alone
            self.held.clear()
            return self._stop(proven)
        self._unclear += 1
        most = max((self._evidence.possible(name) for name in writers), default=0.0)
        able = [name for name in writers if self._evidence.possible(name) >= most / 2 > 0]
        if self._unclear < _UNCLEAR_LOOKS or len(writers) < 2 or not able:
            return None
        newest = max(able, key=lambda name: (self._seen[name].first, name))
        self.held.add(newest)
        return self._stop(newest)

    def _stop(self, party: str) -> str:
        self._unclear = 0
        self.stopped.add(party)
        self._sizes.clear()  # what it still writes while it is being stopped is nobody else's
        return party

    def _share_loads(self, now: float, loaded: Collection[str]) -> None:
        """Share what the clerk wrote, a look late: some of one commit are only named at the next look."""
        named, self._loaded = self._loaded, frozenset(loaded)
        if not self._clerks or (not named and (loaded or self._clerk in self._active)):
            return
        grown = sum(each for each, _ in self._clerks)
        parties = frozenset().union(*(each for _, each in self._clerks), named, loaded)
        self._clerks.clear()
        self._evidence.add(now, grown, parties - {self._clerk} if named else parties)

    def _share_inside(self, now: float, free_inside: int | None) -> None:
        """Share what was used of the file's free blocks: the engine tells it late."""
        if (free_inside is None) != (self._inside is None):
            self._sizes.clear()  # nobody wrote or deleted the difference
        while self._recent and now - self._recent[0][0] > _LATE_SECONDS:
            self._recent.popleft()
        before, self._inside = self._inside, free_inside
        if before is None or free_inside is None:
            return
        lately = [parties for _, parties in self._recent]
        known = [parties for parties in lately if parties is not None]
        if len(known) == len(lately):
            self._evidence.add(now, before - free_inside, frozenset().union(*known))

    def _rate(self, now: float, size: int) -> float:
        """Return by how many bytes a second the database grows; 0 while that is not known."""
        self._sizes.append((now, size))
        while now - self._sizes[0][0] > _KEPT_SECONDS:
            self._sizes.popleft()
        at, before = self._sizes[0]
        return (size - before) / (now - at) if now - at >= _MEASURED_SECONDS else 0.0
