"""The write for whose commit all others wait.

DuckDB fills indexes and writes the WAL during a commit, under one lock, and hears no interrupt there: a
commit of millions of rows into a table with an index takes seconds. Who waits for the lock uses no
processor time, who has it does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from chronoduck.engine.cancellation import CancelReason
from chronoduck.errors import DuckDBException, StatementCancelledError
from chronoduck.service.records import RunningStatement

__all__ = ["CommitHolder"]

_SAMPLE_SECONDS = 1.0
_STALE_SECONDS = 3.0
_WORK_SECONDS = 0.05
"""Of the processor, in a sample: on a busy machine a thread that works gets little."""


class Write(Protocol):
    """A write that runs."""

    @property
    def running(self) -> RunningStatement: ...
    def interrupt(self, reason: CancelReason, error: DuckDBException | None = None) -> None: ...


class CommitHolder:
    """Finds it by the processor time that each write uses within a second."""

    def __init__(self) -> None:
        self._sampled_at = 0.0
        self._sample: dict[str, float] = {}

    def end(self, writes: Sequence[Write]) -> bool:
        """End the write that works the most; call it again and again. Return whether there may be one."""
        if not writes:
            return False
        now = time.monotonic()
        age = now - self._sampled_at
        if age < _SAMPLE_SECONDS:
            return True
        before = self._sample if age < _STALE_SECONDS else {}
        self._sampled_at = now
        self._sample = {each.running.id: each.running.processor_seconds() for each in writes}
        used = {
            id_: seconds - before[id_] for id_, seconds in self._sample.items() if id_ in before
        }
        if not used:
            return True
        most = max(used, key=used.__getitem__)
        if used[most] < _WORK_SECONDS:
            return False
        next(each for each in writes if each.running.id == most).interrupt(
            CancelReason.OPERATOR,
            StatementCancelledError(
                "the statement kept the writes of others waiting for too long",
                hint="Write fewer rows at a time, or create the indexes of the table afterwards: DuckDB "
                "fills them during the commit, while others wait.",
            ),
        )
        return True
