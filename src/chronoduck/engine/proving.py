"""Verdicts on whether a start would survive the WAL, and the interface of what reaches them.

``shadow`` implements the interface; ``service`` asks it before it acknowledges writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

__all__ = ["Absence", "Proof", "Prover", "Verdict", "WalPosition"]


class Verdict(StrEnum):
    """What replaying a WAL on a copy has shown."""

    PROVEN = "proven"
    """It was replayed, checked, checkpointed, closed and opened again."""
    REFUTED = "refuted"
    """It failed twice, with enough memory, space and time: a restart would fail, too."""
    NOT_JUDGED = "not_judged"
    """It could not be tried, or not to its end; ``Proof.reason`` says why."""


class Absence(StrEnum):
    """Why no prover tried it."""

    OFF = "off"
    """No prover works here: it is switched off, or has no space for its copy. That may last."""
    STOPPING = "stopping"
    """The service stops."""


@dataclass(frozen=True, order=True)
class WalPosition:
    """A place in the WAL of one checkpoint."""

    iteration: int
    """The checkpoint's number: ``DatabaseHeader.iteration`` of the file that the WAL belongs to."""
    offset: int
    """Bytes; the end of a transaction."""


@dataclass(frozen=True)
class Proof:
    """A verdict about everything up to ``until``."""

    verdict: Verdict
    until: WalPosition
    reason: str = ""
    """One sentence for an operator; empty when proven."""
    seconds: float = 0.0
    """How long it took."""
    absence: Absence | None = None
    """Only with ``NOT_JUDGED``; None when it was tried, or will be when asked again."""


class Prover(Protocol):
    """Proves on request; the implementation is replaced by a fake in unit tests."""

    async def prove(self, until: WalPosition, timeout: float) -> Proof:
        """Return a verdict on everything up to ``until``, or on more; requests that wait share one.

        A checkpoint that was made meanwhile has taken the WAL into the file: that counts as proven.
        Never raises but ``CancelledError``: what went wrong is ``NOT_JUDGED`` with its reason.
        """
        ...
