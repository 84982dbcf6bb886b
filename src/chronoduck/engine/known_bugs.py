"""Durability bugs that an older engine is known to have, in words for an operator."""

from __future__ import annotations

from chronoduck.engine.inspection import ENGINE_VERSION

__all__ = ["durability_bugs"]

_FIXED_IN_2_0 = (
    "a WAL with ALTER TABLE beside a DEFAULT, CHECK or generated column cannot be replayed",
    "a WAL with small and bulk inserts into an indexed table cannot be replayed or spoils the index",
    "after RENAME of a table that a foreign key refers to CHECKPOINT may never end",
)


def durability_bugs(version: str = ENGINE_VERSION) -> tuple[str, ...]:
    """Return what this engine does wrong and the next one does not; empty for DuckDB 2.0."""
    return _FIXED_IN_2_0 if int(version.split(".")[0]) < 2 else ()
