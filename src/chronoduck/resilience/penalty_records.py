"""What the penalty box keeps: faults, who was near a death, and who waits for how long.

Times are seconds on a clock of the caller that never goes back.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = [
    "FORGET_SECONDS",
    "HURTS_OTHERS",
    "MAY_BE_THE_ENGINE",
    "Death",
    "FaultKind",
    "HeldParty",
    "HeldRecord",
    "Penalty",
    "Suspect",
]

FORGET_SECONDS = 3600.0
"""Without a fault for so long a party or shape begins from nothing."""


class FaultKind(StrEnum):
    """What a statement did."""

    PROCESS_DEATH = "process_death"
    """The server's process died while it was in the engine."""
    FORCED_REPLACEMENT = "forced_replacement"
    """The service replaced its process, because the statement did not listen to its interrupt."""
    ENGINE_LOST = "engine_lost"
    """An internal error invalidated the instance: it was reopened under everybody."""
    IGNORED_INTERRUPT = "ignored_interrupt"
    """It went on long after its interrupt; the process did not have to be replaced for it yet."""
    INTERNAL_ERROR = "internal_error"
    """DuckDB reported an internal error, and went on."""
    ANALYZER_KILLED = "analyzer_killed"
    """The process that judged it had to be ended, or died."""


HURTS_OTHERS = frozenset(
    {FaultKind.PROCESS_DEATH, FaultKind.FORCED_REPLACEMENT, FaultKind.ENGINE_LOST}
)
MAY_BE_THE_ENGINE = frozenset({FaultKind.INTERNAL_ERROR, FaultKind.ANALYZER_KILLED})
"""Faults that excuse each other when several parties meet them at the same time."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A statement that was in the engine when the process died."""

    party: str
    shape: str
    is_proved: bool = False
    """It had run alone for its while before others were let in."""
    is_exempt: bool = False
    """Of the local admin or this process itself: it may be the author, and is never boxed."""


@dataclass(frozen=True, slots=True)
class Penalty:
    """A party, or one shape of it, that must wait or run alone."""

    party: str
    shape: str
    """Empty: all of the party's statements."""
    kind: FaultKind
    seconds: float
    """Left of it."""
    faults: int
    """Within the last hour or so."""


@dataclass(slots=True)
class HeldRecord:
    """What is held against a party, or against one shape of it."""

    kind: FaultKind = FaultKind.PROCESS_DEATH
    faults: int = 0
    boxings: int = 0
    last_fault: float = 0.0
    until: float = 0.0
    """The end of the wait."""

    def count(self, now: float, kind: FaultKind) -> None:
        """Count a fault; the first one after an hour begins from nothing."""
        if now - self.last_fault >= FORGET_SECONDS:
            self.faults = self.boxings = 0
        self.kind, self.last_fault = kind, now
        self.faults += 1


@dataclass(slots=True)
class HeldParty:
    """All that is held against a party."""

    own: HeldRecord = field(default_factory=HeldRecord)
    shapes: OrderedDict[str, HeldRecord] = field(default_factory=OrderedDict)
    alone: OrderedDict[str, float] = field(default_factory=OrderedDict)
    """Until when a shape is run alone."""
    watched_until: float = 0.0
    """Until when everything is run alone."""

    def is_over(self, now: float) -> bool:
        """Whether nothing of it matters any more."""
        ends = [self.watched_until, *self.alone.values()]
        for record in (self.own, *self.shapes.values()):
            ends += [record.until, record.last_fault + FORGET_SECONDS if record.faults else 0.0]
        return max(ends) <= now


@dataclass(slots=True)
class Death:
    """A process that died, and who was in the engine."""

    at: float
    uncleared: set[tuple[str, str]]
    """Party and shape of the suspects that may be the author."""
    everyone: set[tuple[str, str]]
    """The cleared ones, too, unless they have ended since."""
