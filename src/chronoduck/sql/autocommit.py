"""How a statement that is sent alone is committed."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Autocommit"]


class Autocommit(StrEnum):
    """How a statement that is sent alone is committed."""

    NEVER = "never"
    """It changes nothing in the file."""
    BY_DUCKDB = "by DuckDB"
    """Before ``execute`` returns; its result is one count."""
    BY_US = "by us"
    """In a transaction around it: DuckDB would commit it only when its result is read to the end, or
    it changes the catalog, and what it is must be known before the COMMIT."""
