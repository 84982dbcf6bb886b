"""What is known of each sync, kept in the served database: committed with the rows, or not at all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.sync.merging import Merged, TableSession
from chronoduck.sync.slot import Capture

__all__ = ["SyncState", "forget_state", "prepare_state", "read_states", "save_state"]

_TABLE = f"{OWN_SCHEMA}.syncs"


@dataclass(frozen=True)
class SyncState:
    """Times are ISO texts in UTC. A watermark is valid for its ``fingerprint`` alone."""

    name: str
    fingerprint: str = ""
    watermark: str | None = None
    columns: tuple[str, ...] = ()
    """The source's columns at the last run."""
    target: str = ""
    """The table that was filled: its rows are the sync's."""
    as_of: str | None = None
    """The source's time that the target shows: what was committed by then is in it."""
    last_run_at: str | None = None
    last_success_at: str | None = None
    last_seconds: float = 0.0
    last_read: int = 0
    last_added: int = 0
    last_changed: int = 0
    last_deleted: int = 0
    total_rows: int = 0
    """Added, changed and deleted by all runs."""
    runs: int = 0
    failures: int = 0
    """Runs that failed since the last success."""
    total_failures: int = 0
    error: dict[str, str] | None = None
    notes: tuple[str, ...] = ()
    capture: Capture | None = None
    """What the sync has in PostgreSQL; the watermark is then the place of the log that is here."""

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

    def failed(self, error: dict[str, str], now: str) -> SyncState:
        """Return it after a failure."""
        return replace(
            self,
            last_run_at=now,
            runs=self.runs + 1,
            failures=self.failures + 1,
            total_failures=self.total_failures + 1,
            error=error,
        )


def prepare_state(session: TableSession) -> None:
    """Make the table."""
    session.execute(f"CREATE SCHEMA IF NOT EXISTS {OWN_SCHEMA}")
    session.execute(f"CREATE TABLE IF NOT EXISTS {_TABLE} (name VARCHAR, facts VARCHAR)")


def read_states(session: TableSession) -> dict[str, SyncState]:
    """Return all that is known, by name; nothing in a database that never synced."""
    known = session.execute(
        "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database() "
        "AND schema_name = $schema AND table_name = 'syncs'",
        {"schema": OWN_SCHEMA},
    )
    if not known:
        return {}
    return {str(name): _state(facts) for name, facts in session.execute(f"FROM {_TABLE}")}


def _state(text: str) -> SyncState:
    fields = orjson.loads(text)
    known = SyncState.__dataclass_fields__
    kept = {name: value for name, value in fields.items() if name in known}
    for name in ("columns", "notes"):
        kept[name] = tuple(kept.get(name, ()))
    if kept.get("capture") is not None:
        kept["capture"] = Capture.of(kept["capture"])
    return SyncState(**kept)


def forget_state(session: TableSession, name: str) -> None:
    """Remove all that is known of a sync."""
    session.execute(f"DELETE FROM {_TABLE} WHERE name = $name", {"name": name})


def save_state(session: TableSession, state: SyncState) -> None:
    """Put it in the place of what was known."""
    session.execute(f"DELETE FROM {_TABLE} WHERE name = $name", {"name": state.name})
    session.execute(
        f"INSERT INTO {_TABLE} VALUES ($name, $facts)",
        {"name": state.name, "facts": orjson.dumps(asdict(state)).decode()},
    )
