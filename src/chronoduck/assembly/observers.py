"""Observers of finished statements for the parts that depend on what statements did."""

from __future__ import annotations

from chronoduck.engine.checkpoints import Checkpointer
from chronoduck.engine.disk_guard import DiskGuard
from chronoduck.engine.scopes.registry import Scopes
from chronoduck.errors import DiskFullError
from chronoduck.service.records import StatementObserver, StatementRecord

__all__ = ["count_commits", "note_catalog_changes", "note_full_disk"]


def count_commits(checkpointer: Checkpointer) -> StatementObserver:
    """Return an observer that counts statements that wrote."""

    def observe(record: StatementRecord) -> None:
        if not record.is_read_only and record.outcome == "ok":
            checkpointer.note_commit()

    return observe


def note_catalog_changes(scopes: Scopes) -> StatementObserver:
    """Return an observer that reports kinds of statements, which may change tables and views."""

    def observe(record: StatementRecord) -> None:
        scopes.note(record.kind)

    return observe


def note_full_disk(guard: DiskGuard) -> StatementObserver:
    """Return an observer that reports statements that found no space."""

    def observe(record: StatementRecord) -> None:
        if record.error_code == DiskFullError.code:
            guard.note_full()

    return observe
