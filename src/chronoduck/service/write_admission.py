"""Whether a write may begin: not below the disk floor, and not while a start could not replay the WAL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chronoduck.service.records import Caller
from chronoduck.sql.statements import Statement

__all__ = ["WriteAdmission", "frees_space"]

_CHECKED_LATER = frozenset({"checkpoint", "transaction", "batch"})
"""A checkpoint may always run; of a batch or transaction each statement is checked."""


def frees_space(kind: str, text: str) -> bool:
    """Whether a statement only takes rows or objects away: a CTE of a DELETE may write."""
    return kind == "drop" or (kind == "delete" and "with" not in text.lower())


def _pass(*noted: Caller) -> None:
    """Refuse nothing, and note nothing."""


@dataclass(frozen=True)
class WriteAdmission:
    """Each check raises when it refuses; by default nothing is refused."""

    check_space: Callable[[Caller], None] = _pass
    check_replay: Callable[[], None] = _pass
    note: Callable[[Caller], None] = _pass
    """Is told for whom a transaction of the service's own has written, or has tried to."""

    def check(self, statement: Statement, caller: Caller) -> None:
        """Refuse a statement that writes while nothing may be written; what frees space may.

        Raises:
            DiskFullError: there is too little space.
            WalNotReplayableError: a restart would lose it.
        """
        if statement.is_read_only or statement.kind in _CHECKED_LATER:
            return
        self.check_replay()
        if not frees_space(statement.kind, statement.text):
            self.check_space(caller)

    def check_load(self, caller: Caller) -> None:
        """Refuse a load before its answer begins with a status.

        Raises:
            DiskFullError: there is too little space.
            WalNotReplayableError: a restart would lose it.
        """
        self.check_replay()
        self.check_space(caller)
