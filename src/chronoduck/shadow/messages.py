"""Messages between the service and its shadow: JSON, one object a line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Mark", "Orders", "ShadowState", "ShadowStatus", "to_line"]


class ShadowState(StrEnum):
    """What the shadow does now."""

    OFF = "off"
    """Switched off by its setting."""
    STARTING = "starting"
    COPYING = "copying"
    """The private copy is being made, or brought up to date."""
    FOLLOWING = "following"
    """It judges what is written."""
    NO_SPACE = "no_space"
    """The copy does not fit: nothing is judged."""
    FAILING = "failing"
    """Its process died and is started again."""
    STOPPED = "stopped"


@dataclass(frozen=True)
class Orders:
    """The first message: what the shadow works on, and its limits."""

    database: str
    directory: str
    memory_bytes: int
    """Of the shadow and the child that it runs, together."""
    cpu_share: float
    """Of one core, as a mean."""
    floor_bytes: int
    """Free space that the copy leaves on its volume, on that of the database twice as much."""


@dataclass(frozen=True)
class Mark:
    """How far a level has got."""

    iteration: int
    offset: int
    commits: int
    """Transactions of the WAL up to ``offset``."""
    time_us: int
    """When the shadow read the WAL up to there."""


@dataclass
class ShadowStatus:
    """What the shadow reports; the service keeps the newest."""

    state: str = ShadowState.STARTING
    verdict: str = "not_judged"
    reason: str = "nothing was tried yet"
    """Why the verdict is not ``proven``; one sentence."""
    replayed: Mark | None = None
    proven: Mark | None = None
    refuted: Mark | None = None
    """What failed twice; None once a later state was proven."""
    cpu_share: float = 0.0
    """Of one core, mean of the last 10 minutes."""
    attempts: int = 0
    failures: int = 0
    """Attempts that did not end well, whatever the reason."""
    unproven_tails: int = 0
    """Generations whose last transactions could not be proven before the next checkpoint."""
    file_damage: str = ""
    """What is wrong with the database file itself; empty once a proof went well."""
    damaged_blocks: int = 0
    copy_bytes: int = 0
    proof_seconds: float = 0.0
    """How long the last proof took, with bringing the copy up to date."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON fields."""
        return asdict(self)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> ShadowStatus:
        """Return what ``as_dict`` gave."""
        marks = {
            name: Mark(**fields[name]) if fields[name] else None
            for name in ("replayed", "proven", "refuted")
        }
        return cls(**{**fields, **marks})


@dataclass
class Request:
    """A proof that the service waits for."""

    id: int
    iteration: int
    offset: int

    @property
    def position(self) -> tuple[int, int]:
        """Iteration and offset, in the order of time."""
        return self.iteration, self.offset


def to_line(kind: str, **fields: Any) -> bytes:
    """Return a message as a line."""
    return json.dumps({"kind": kind, **fields}).encode() + b"\n"
