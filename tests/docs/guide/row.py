"""One row of docs/guide.md: lines of the guide, the verdict, and how it is checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tests.docs.machine import Machine

__all__ = ["Check", "Row", "Verdict"]

Check = Callable[[Machine, "Row"], None]


class Verdict(StrEnum):
    """What is claimed."""

    WORKS = "works as written"
    WORKS_AS = "works as"
    DIFFERENT = "deliberately different"


@dataclass(frozen=True)
class Row:
    """``lines`` are the first and the last line in the guide, ``text`` is what stands there."""

    lines: tuple[int, int]
    text: str
    verdict: Verdict
    note: str
    """How it works, or why it is different, or what of it could not be run and why."""
    check: Check | None = None
    """None: the row is a step of the procedure ``part``, which is run as a whole."""
    part: str = ""
    instead: str | None = None
    """What a step runs in place of the text."""

    @property
    def script(self) -> str:
        """What a step runs."""
        return self.text if self.instead is None else self.instead
