"""How long work on the database's files may take before its process is ended."""

from __future__ import annotations

from pydantic_settings import BaseSettings

from chronoduck.settings.values import Seconds, from_environment

__all__ = ["DeadlineSettings"]


class DeadlineSettings(BaseSettings):
    """Deadlines of work on the database's files (``DUCKDB_DEADLINE_*``); size adds to them."""

    model_config = from_environment("DUCKDB_DEADLINE_")

    opening: Seconds = 120.0
    """How long one attempt to open an empty database may take; a larger file or WAL may take more."""
    alter: Seconds = 2.0
    """How long an ALTER, or a transaction with one, may keep other writers out; admins' may longer."""
    task: Seconds = 1800.0
    """How long a backup, drill, verification or compaction may take, and ten minutes more per GB."""
