"""Which generations of a replica are gone: deleted by retention, or lost and acknowledged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["NumberRanges", "Removals"]


@dataclass(frozen=True)
class NumberRanges:
    """A set of numbers as sorted ranges, both ends included: bounded, however many were removed."""

    ranges: tuple[tuple[int, int], ...] = ()

    def __contains__(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self.ranges)

    def union(self, others: Iterable[tuple[int, int]]) -> NumberRanges:
        """Return the set with the ranges added."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted([*self.ranges, *others]):
            if last < first:
                continue
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        return NumberRanges(tuple(merged))

    def without(self, numbers: Iterable[int]) -> NumberRanges:
        """Return the set without some numbers."""
        ranges = list(self.ranges)
        for number in numbers:
            cut: list[tuple[int, int]] = []
            for first, last in ranges:
                if first <= number <= last:
                    cut += [(first, number - 1), (number + 1, last)]
                else:
                    cut.append((first, last))
            ranges = [each for each in cut if each[0] <= each[1]]
        return NumberRanges(tuple(ranges))

    @classmethod
    def of(cls, numbers: Iterable[int]) -> NumberRanges:
        """Return the set of some numbers."""
        return cls().union((number, number) for number in numbers)


@dataclass(frozen=True)
class Removals:
    """What explains a gap in the generations of a replica."""

    retention: NumberRanges = NumberRanges()
    """Deleted because no restore inside the window needs them."""
    lost: NumberRanges = NumberRanges()
    """Lost by the store; an operator has taken note. Their points cannot be restored."""

    lost_packs: frozenset[str] = frozenset()
    """Packs that the store lost; an operator has taken note. Points that need them are lost, too."""

    def explains(self, number: int) -> bool:
        """Whether the absence of a generation is known."""
        return number in self.retention or number in self.lost

    def union(self, other: Removals) -> Removals:
        """Return what both know."""
        return Removals(
            self.retention.union(other.retention.ranges),
            self.lost.union(other.lost.ranges),
            self.lost_packs | other.lost_packs,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the JSON that is stored."""
        return {
            "kind": "removed",
            "retention": self.retention.ranges,
            "lost": self.lost.ranges,
            "lost_packs": sorted(self.lost_packs),
        }

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Removals:
        """Return what was stored."""
        return cls(
            NumberRanges().union((first, last) for first, last in facts["retention"]),
            NumberRanges().union((first, last) for first, last in facts["lost"]),
            frozenset(facts.get("lost_packs", ())),
        )
