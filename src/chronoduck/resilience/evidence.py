"""Who made something grow, as far as that is known when nobody tells whose each byte is.

What grew while only one party was at work is surely its own. What grew while several were at work may be
anybody's of them: it counts for none, but each of them may have caused all of it. A party is only accused
if what is surely its own is a fair part of what any other one may have caused. So a party that really
caused less than a tenth of the largest is never accused, whatever the others do and when they do it.
"""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["Evidence"]

_PROOF = 0.2
"""What is surely of a party, as a part of what any other one may have caused. A block that is counted
twice (as growth of the file, and when it is used) doubles the first: a tenth holds all the same."""
_NOBODY = ""
"""What grew while no party was at work."""


class Evidence:
    """Adds up growth by party; it halves with time. Times are seconds on a steady clock."""

    def __init__(self, half_life_seconds: float) -> None:
        """All that was added halves in so many seconds."""
        self._half_life = half_life_seconds
        self._at: float | None = None
        self._sure: dict[str, float] = {}
        self._possible: dict[str, float] = {}

    def add(self, now: float, grown: float, parties: Collection[str]) -> None:
        """Count bytes that grew while these parties, and nobody else, were at work."""
        self._fade(now)
        if grown <= 0:
            return
        for party in parties or (_NOBODY,):
            self._possible[party] = self.possible(party) + grown
        if len(parties) == 1:
            (party,) = parties
            self._sure[party] = self._sure.get(party, 0.0) + grown

    def possible(self, party: str) -> float:
        """Return how many bytes a party may have caused at most."""
        return self._possible.get(party, 0.0)

    def proven(self, among: Collection[str]) -> str | None:
        """Return who of them surely caused the most, if that can be told from all others."""
        party = max(sorted(among), key=lambda name: self._sure.get(name, 0.0), default=None)
        if party is None or not (sure := self._sure.get(party, 0.0)):
            return None
        others = max((grown for name, grown in self._possible.items() if name != party), default=0)
        return party if sure >= _PROOF * others else None

    def keep(self, parties: Collection[str]) -> None:
        """Forget all others, because what they caused is gone."""
        self._sure = {party: grown for party, grown in self._sure.items() if party in parties}
        self._possible = {
            party: grown for party, grown in self._possible.items() if party in parties
        }

    def _fade(self, now: float) -> None:
        part = 1.0 if self._at is None else 0.5 ** ((now - self._at) / self._half_life)
        self._at = now
        for counts in (self._sure, self._possible):
            for party in list(counts):
                counts[party] *= part
                if counts[party] < 1:
                    del counts[party]
