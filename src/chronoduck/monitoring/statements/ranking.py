"""The most expensive statements by normalised text, in bounded memory."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["ORDERS", "ExpensiveStatement", "RankedStatement", "StatementRanking"]

_ROOM = 1_000


class ExpensiveStatement(Protocol):
    """What is needed of a statement that has ended; times in seconds, memory in MB."""

    @property
    def kind(self) -> str: ...
    @property
    def template(self) -> str | None: ...
    @property
    def outcome(self) -> str: ...
    @property
    def execution_time(self) -> float: ...
    @property
    def engine_seconds(self) -> float: ...
    @property
    def ended_at(self) -> float: ...
    @property
    def rows(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def memory_mb(self) -> float: ...


@dataclass(slots=True)
class RankedStatement:
    """All statements of one normalised text. Times in seconds, memory in MB."""

    statement: str
    fingerprint: str
    kind: str
    template: str | None
    unseen_seconds: float
    """Total time that it may have had before it was remembered; 0 while nothing was forgotten."""
    first_seen: float
    """Unix time."""
    last_seen: float = 0.0
    count: int = 0
    errors: int = 0
    total_time: float = 0.0
    max_time: float = 0.0
    engine_seconds: float = 0.0
    rows: int = 0
    result_bytes: int = 0
    peak_memory_mb: float = 0.0

    @property
    def mean_time(self) -> float:
        """Seconds that one took on average."""
        return self.total_time / self.count if self.count else 0.0


ORDERS: dict[str, Callable[[RankedStatement], float]] = {
    "total_time": lambda each: each.total_time,
    "max_time": lambda each: each.max_time,
    "mean_time": lambda each: each.mean_time,
    "count": lambda each: each.count,
    "errors": lambda each: each.errors,
    "rows": lambda each: each.rows,
    "bytes": lambda each: each.result_bytes,
    "memory": lambda each: each.peak_memory_mb,
    "last_seen": lambda each: each.last_seen,
}
"""What a ranking can be ordered by, the most first."""


class StatementRanking:
    """Remembers the texts with the most total time, a thousand at least, two thousand at most.

    When there is no room the half with the least goes. A text that comes after that may be one of
    them: it is taken to have had as much time as the largest that went (``unseen_seconds``), as in the
    Space-Saving algorithm. So whatever had more total time than ``forgotten_seconds`` is remembered,
    however many others came between. For one thread.
    """

    def __init__(self, room: int = _ROOM) -> None:
        self._room = room
        self._known: dict[str, RankedStatement] = {}
        self.forgotten_seconds = 0.0
        """The most total time that a text may have had and not be remembered."""

    def __len__(self) -> int:
        return len(self._known)

    def add(self, statement: ExpensiveStatement, text: str, fingerprint: str) -> None:
        """Count a statement that has ended under its normalised text."""
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = RankedStatement(
                text,
                fingerprint,
                statement.kind,
                statement.template,
                unseen_seconds=self.forgotten_seconds,
                first_seen=statement.ended_at,
            )
        seconds = statement.execution_time
        known.count += 1
        known.errors += statement.outcome != "ok"
        known.total_time += seconds
        known.max_time = max(known.max_time, seconds)
        known.engine_seconds += statement.engine_seconds
        known.rows += statement.rows
        known.result_bytes += statement.bytes
        known.peak_memory_mb = max(known.peak_memory_mb, statement.memory_mb)
        known.last_seen = statement.ended_at
        if len(self._known) > 2 * self._room:
            self._forget()

    def _forget(self) -> None:
        def weight(each: RankedStatement) -> float:
            return each.total_time + each.unseen_seconds

        ordered = sorted(self._known.values(), key=weight, reverse=True)
        self.forgotten_seconds = weight(ordered[self._room])
        self._known = {each.statement: each for each in ordered[: self._room]}

    def top(self, order: str, limit: int) -> list[RankedStatement]:
        """Return the first ``limit`` statements in one of the ``ORDERS``.

        Raises:
            KeyError: there is no such order.
        """
        return heapq.nlargest(limit, list(self._known.values()), key=ORDERS[order])

    def status(self) -> dict[str, Any]:
        """Return how many are remembered, and how much one that is not may have taken."""
        return {
            "remembered": len(self._known),
            "forgotten_seconds": round(self.forgotten_seconds, 6),
        }
