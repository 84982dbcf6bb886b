"""What is known of each export."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from chronoduck.declared import RunState, StateTable

__all__ = ["EXPORT_STATES", "ExportState"]


@dataclass(frozen=True)
class ExportState(RunState):
    """A watermark is valid for its ``fingerprint`` and the index that was made at ``made_at``."""

    fingerprint: str = ""
    watermark: str | None = None
    made_at: str | None = None
    """When Meilisearch made the index that holds the documents: tells it from another of its name."""
    is_building: bool = False
    """An index beside it may be there, and is this export's."""
    pending: dict[str, str | None] | None = None
    """What ``fingerprint``, ``watermark`` and ``made_at`` are once the swap was done."""
    documents: int = 0
    """Documents in the index, or rows in the files, after the last run."""
    written: tuple[str, ...] = ()
    """Of an export into files: the URLs of the folders that are whole and kept, oldest first."""
    leaving: tuple[str, ...] = ()
    """URLs of folders to remove: too old, or begun by a run that did not end well."""
    last_sent: int = 0
    last_deleted: int = 0
    last_how: str = ""
    """``rebuild``, ``changes`` or ``files``."""
    total_rows: int = 0
    """Sent and deleted by all runs."""

    def swapped(self) -> ExportState:
        """Return it once the index that was built has taken its place."""
        facts: dict[str, Any] = {**(self.pending or {})}
        return replace(self, **facts, pending=None)

    def ended(self, *, sent: int, deleted: int, **facts: Any) -> ExportState:
        """Return it after a success."""
        return replace(
            self,
            last_sent=sent,
            last_deleted=deleted,
            total_rows=self.total_rows + sent + deleted,
            runs=self.runs + 1,
            failures=0,
            error=None,
            **facts,
        )

    def timed(self, now: str, seconds: float) -> ExportState:
        """Return it with when the run ended and how long it took."""
        return replace(self, last_run_at=now, last_success_at=now, last_seconds=seconds)


EXPORT_STATES = StateTable("exports", ExportState)
"""What is known of all exports."""
