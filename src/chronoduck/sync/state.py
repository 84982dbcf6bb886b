"""What is known of each sync, kept in the served database: committed with the rows, or not at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from chronoduck.declared import RunState, StateTable
from chronoduck.sync.merging import Merged
from chronoduck.sync.slot import Capture

__all__ = ["SYNC_STATES", "SyncState"]


@dataclass(frozen=True)
class SyncState(RunState):
    """A watermark is valid for its ``fingerprint`` alone."""

    fingerprint: str = ""
    watermark: str | None = None
    columns: tuple[str, ...] = ()
    """The source's columns at the last run."""
    target: str = ""
    """The table that was filled: its rows are the sync's."""
    as_of: str | None = None
    """The source's time that the target shows: what was committed by then is in it."""
    last_read: int = 0
    last_added: int = 0
    last_changed: int = 0
    last_deleted: int = 0
    total_rows: int = 0
    """Added, changed and deleted by all runs."""
    capture: Capture | None = None
    """What the sync has in PostgreSQL; the watermark is then the place of the log that is here."""

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """Return it from what the table holds."""
        state = super().of(fields)
        capture: Any = state.capture
        return state if capture is None else replace(state, capture=Capture.of(capture))

    def ended(self, merged: Merged, **facts: Any) -> SyncState:
        """Return it after a success."""
        return replace(
            self,
            last_added=merged.added,
            last_changed=merged.changed,
            last_deleted=merged.deleted,
            total_rows=self.total_rows + merged.added + merged.changed + merged.deleted,
            runs=self.runs + 1,
            failures=0,
            error=None,
            **facts,
        )


SYNC_STATES = StateTable("syncs", SyncState)
"""What is known of all syncs."""
