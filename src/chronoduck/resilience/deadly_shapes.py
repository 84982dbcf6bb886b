"""Shapes of statements that ended the process, whoever sent them: a second key is not a second life.

A *shape* is the hash of a statement's normalized text. One that ended the process, or may have, runs
alone for everybody from then on. When it ended the process for a second party, it waits for everybody,
but for the parties that have run it to its end since: literals are not part of a shape, and one user's
literals must not cost another user a report that works.

Times are seconds on a clock of the caller that never goes back.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

__all__ = ["EVERYBODY", "DeadlyShapes"]

EVERYBODY = "*"
"""Stands for a party where a shape of everybody is told of."""
_REMEMBERED_SHAPES, _REMEMBERED_PARTIES = 200, 200
_AUTHORS = 2
"""So many parties for whom it ended the process: then it waits for everybody."""


@dataclass(slots=True)
class _Shape:
    last_death: float
    alone_until: float
    waits_until: float = 0.0
    boxings: int = 0
    parties: OrderedDict[str, bool] = field(default_factory=OrderedDict)
    """For whom it ended the process, or may have: whether that is certain."""
    cleared: OrderedDict[str, bool] = field(default_factory=OrderedDict)
    """Parties for whom it ended without harm since."""

    @property
    def authors(self) -> int:
        return sum(self.parties.values())


class DeadlyShapes:
    """Memory is bounded whatever comes. For one thread."""

    def __init__(
        self,
        first_seconds: float,
        longest_seconds: float,
        *,
        alone_seconds: float,
        forget_seconds: float,
    ) -> None:
        """Each further wait doubles; after ``forget_seconds`` without a death a shape is forgotten."""
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._alone_seconds = alone_seconds
        self._forget_seconds = forget_seconds
        self._shapes: OrderedDict[str, _Shape] = OrderedDict()

    def __len__(self) -> int:
        return len(self._shapes)

    def suspect(self, now: float, party: str, shape: str) -> None:
        """Have a shape run alone that may have ended the process when this party sent it."""
        entry = self._entry(now, shape)
        _remember(entry.parties, party, is_certain=entry.parties.get(party, False))

    def note_author(self, now: float, party: str, shape: str) -> float:
        """Take in that a party's statement certainly ended the process; return what it waits now.

        0: nobody but its author waits; it runs alone.
        """
        entry = self._entry(now, shape)
        entry.cleared.pop(party, None)
        _remember(entry.parties, party, is_certain=True)
        if entry.authors < _AUTHORS:
            return 0.0
        wait = min(self._longest_seconds, self._first_seconds * 2.0 ** min(entry.boxings, 30))
        entry.boxings += 1
        entry.waits_until = now + wait
        return wait

    def _entry(self, now: float, shape: str) -> _Shape:
        entry = self._shapes.get(shape)
        if entry is None or now - entry.last_death >= self._forget_seconds:
            entry = _Shape(now, now)
        entry.last_death = now
        entry.alone_until = now + self._alone_seconds
        self._shapes[shape] = entry
        self._shapes.move_to_end(shape)
        if len(self._shapes) > _REMEMBERED_SHAPES:
            self._shapes.popitem(last=False)
        return entry

    def wait_of(self, now: float, party: str, shape: str) -> tuple[float, int]:
        """Return how long a party must wait with a shape, and for how many parties it was deadly."""
        entry = self._shapes.get(shape)
        if entry is None or party in entry.cleared:
            return 0.0, 0
        return max(0.0, entry.waits_until - now), entry.authors

    def must_run_alone(self, now: float, party: str, shape: str) -> bool:
        """Whether nothing else may be in the engine when this party's statement begins."""
        entry = self._shapes.get(shape)
        return entry is not None and entry.alone_until > now and party not in entry.cleared

    def note_survived(self, party: str, shape: str) -> bool:
        """Clear a shape for a party, for which it ended; one without an author is cleared for all.

        Returns whether anything changed.
        """
        entry = self._shapes.get(shape)
        if entry is None or party in entry.cleared:
            return False
        if not entry.authors:
            del self._shapes[shape]
        else:
            _remember(entry.cleared, party, is_certain=True)
        return True

    def waiting(self, now: float) -> list[tuple[str, float, int]]:
        """Return the shapes that wait for everybody: shape, seconds, parties."""
        return [
            (shape, entry.waits_until - now, entry.authors)
            for shape, entry in self._shapes.items()
            if entry.waits_until > now
        ]

    def alone(self, now: float) -> list[tuple[str, float, int]]:
        """Return the shapes that run alone for everybody: shape, seconds, parties."""
        return [
            (shape, entry.alone_until - now, entry.authors)
            for shape, entry in self._shapes.items()
            if entry.alone_until > now
        ]

    def parties(self) -> set[str]:
        """Return who sent a shape, and `EVERYBODY` if there is one."""
        senders = {party for entry in self._shapes.values() for party in entry.parties}
        return senders | {EVERYBODY} if self._shapes else set()

    def release(self, party: str) -> bool:
        """Forget all shapes (``EVERYBODY``), or those that only this party has sent.

        Returns whether there was one.
        """
        before = len(self._shapes)
        if party == EVERYBODY:
            self._shapes.clear()
        for shape, entry in list(self._shapes.items()):
            if entry.parties.pop(party, None) is not None and not entry.parties:
                del self._shapes[shape]
        return len(self._shapes) < before

    def tidy(self, now: float) -> None:
        """Forget what is over."""
        for shape, entry in list(self._shapes.items()):
            if now - entry.last_death >= self._forget_seconds:
                del self._shapes[shape]

    def state(self, now: float) -> dict[str, Any]:
        """Return all that is known as JSON values, with times as seconds from ``now``."""
        return {
            shape: [
                entry.last_death - now,
                entry.alone_until - now,
                entry.waits_until - now,
                entry.boxings,
                list(entry.parties.items()),
                list(entry.cleared),
            ]
            for shape, entry in self._shapes.items()
        }

    def restored(self, then: float, state: dict[str, Any]) -> DeadlyShapes:
        """Return one of these settings with what an earlier process knew at ``then``.

        Raises:
            ValueError, TypeError, AttributeError: it is not of that form.
        """
        made = DeadlyShapes(
            self._first_seconds,
            self._longest_seconds,
            alone_seconds=self._alone_seconds,
            forget_seconds=self._forget_seconds,
        )
        for shape, (last, alone, waits, boxings, parties, cleared) in state.items():
            made._shapes[str(shape)] = _Shape(
                then + float(last),
                then + float(alone),
                then + min(self._longest_seconds, float(waits)),
                int(boxings),
                OrderedDict((str(party), bool(is_certain)) for party, is_certain in parties),
                OrderedDict.fromkeys(map(str, cleared), True),
            )
        return made


def _remember(parties: OrderedDict[str, bool], party: str, *, is_certain: bool) -> None:
    parties[party] = is_certain
    parties.move_to_end(party)
    if len(parties) > _REMEMBERED_PARTIES:
        parties.popitem(last=False)
