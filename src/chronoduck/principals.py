"""Who asks and what they may do: roles, what a key is narrowed to, limits; values without behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["LOCAL", "OPERATORS_ID", "Limits", "Principal", "Role", "Scope", "TableGrant"]


class Role(StrEnum):
    """What kinds of work a principal may ask for; each role may do what the ones before it may."""

    VIEWER = "viewer"
    """Run the query templates."""
    ANALYST = "analyst"
    """Read anything by statements of their own."""
    WRITER = "writer"
    """Change data and tables, load files."""
    ADMIN = "admin"
    """Operate the service."""

    @property
    def rank(self) -> int:
        """Position in the order of power, from 0."""
        return _RANKS[self]

    def includes(self, other: Role) -> bool:
        """Whether this role may do all that the other may."""
        return self.rank >= other.rank


_RANKS = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class TableGrant:
    """One table or view that a narrowed principal sees, perhaps only some of its rows."""

    name: str
    schema: str = "main"
    row_filter: str | None = None
    """A SQL condition over the table's columns; ``None``: every row."""


@dataclass(frozen=True, slots=True)
class Scope:
    """All that a narrowed principal can see; nothing else exists for it. Narrowed means read only."""

    tables: tuple[TableGrant, ...] = ()
    schemas: tuple[str, ...] = ()
    """Schemas of which every table and view is seen, whole."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a principal may use; ``None``: what its role may, and for the role: no limit."""

    requests_per_minute: int | None = None
    concurrent_statements: int | None = None
    engine_seconds_per_hour: float | None = None
    max_rows: int | None = None
    """Rows of one result."""
    max_result_bytes: int | None = None
    statement_timeout: float | None = None
    """The longest deadline of a statement, in seconds."""
    max_scan_rows: int | None = None
    """Rows that a plan may expect to read from tables."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated user: a key, a bearer of a platform's token, or this process itself."""

    name: str
    role: Role
    id: str
    """Stable and public: ``key:<id>``, ``jwt:<subject>``, ``admin``, ``local``. Quotas count by it."""
    scope: Scope | None = None
    """``None``: sees the whole database."""
    limits: Limits = field(default=Limits())


OPERATORS_ID = "export"
"""Of the principal that runs what the operators declare in a file."""
LOCAL = Principal("python", Role.ADMIN, "local")
"""Code in this process, which could do everything anyway."""
