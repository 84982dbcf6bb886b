"""Who asks and what they may do: roles, what a key is narrowed to, limits; values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeGuard

__all__ = [
    "LOCAL",
    "OPERATORS_ID",
    "ClaimScalar",
    "ClaimValue",
    "Claims",
    "Limits",
    "Principal",
    "Role",
    "Scope",
    "TableGrant",
    "WriteGrants",
    "claims_of",
]


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


ClaimScalar = str | int | float | bool
ClaimValue = ClaimScalar | tuple[ClaimScalar, ...]
Claims = tuple[tuple[tuple[str, ...], ClaimValue], ...]
"""Values by their paths: ``$claim.org.id`` is ``("org", "id")``."""
FilterWithValues = tuple[str, Sequence[ClaimScalar | Sequence[ClaimScalar] | None]]


@dataclass(frozen=True, slots=True, init=False)
class TableGrant:
    """One table or view that a narrowed principal sees, perhaps only some of its rows."""

    name: str
    schema: str = "main"
    row_filter: str | None = None
    """A SQL condition over the table's columns; ``None``: every row."""
    values: tuple[ClaimValue | None, ...] = ()
    """Of each ``?`` in the condition."""

    def __init__(
        self,
        name: str,
        schema: str = "main",
        row_filter: str | FilterWithValues | None = None,
        values: Sequence[ClaimValue | None] = (),
    ) -> None:
        """``row_filter``: a condition, or one with its values: ``("user_id = ?", [user])``."""
        if row_filter is not None and not isinstance(row_filter, str):
            row_filter, given = row_filter
            values = [_frozen(value) for value in given]
        for field_name, value in (
            *(("name", name), ("schema", schema)),
            *(("row_filter", row_filter), ("values", tuple(values))),
        ):
            object.__setattr__(self, field_name, value)


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """All that a narrowed principal can see; nothing else exists for it. Narrowed means read only.

    Python says that 1, 1.0 and True are equal, and they select other rows: scopes are equal when they
    are written alike.
    """

    tables: tuple[TableGrant, ...] = ()
    schemas: tuple[str, ...] = ()
    """Schemas of which every table and view is seen, whole."""
    claims: Claims = ()
    """What row filters name as ``$claim.sub``; see ``claims_of``."""

    def __eq__(self, other: object) -> bool:
        """Whether both show the same."""
        return isinstance(other, Scope) and repr(self) == repr(other)

    def __hash__(self) -> int:
        """Return what equal scopes have in common."""
        return hash(repr(self))


def claims_of(values: Mapping[str, object]) -> Claims:
    """Return texts, numbers, booleans and lists of one of these as claims; objects by their paths.

    Everything else (null, empty and mixed lists) is left out: a filter that names it shows no row.
    """
    found: list[tuple[tuple[str, ...], ClaimValue]] = []
    waiting: list[tuple[tuple[str, ...], object]] = [
        ((name,), each) for name, each in values.items()
    ]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend(((*path, str(name)), each) for name, each in value.items())
            continue
        frozen = _frozen(value)
        if frozen is not None:
            found.append((path, frozen))
    return tuple(sorted(found, key=lambda each: each[0]))


def _frozen(value: object) -> ClaimValue | None:
    if _is_bound(value):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        items = tuple(each for each in value if _is_bound(each))
        if items and len(items) == len(value) and len({type(each) for each in items}) == 1:
            return items
    return None


def _is_bound(value: object) -> TypeGuard[ClaimScalar]:
    """Whether DuckDB binds the value as it is."""
    if isinstance(value, str):
        return not any("\ud800" <= each <= "\udfff" for each in value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return isinstance(value, float) and math.isfinite(value)  # else no JSON holds it


@dataclass(frozen=True, slots=True)
class WriteGrants:
    """All that a writer with grants may change; it reads everything."""

    schemas: tuple[str, ...] = ()
    """It may make and drop them, and do all in them."""
    tables: tuple[tuple[str, str], ...] = ()
    """Schema and name of tables whose rows it may change, but not what they are."""


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
    writes: WriteGrants | None = None
    """``None``: a writer may write everything but the product's own tables."""


OPERATORS_ID = "export"
"""Of the principal that runs what the operators declare in a file."""
LOCAL = Principal("python", Role.ADMIN, "local")
"""Code in this process, which could do everything anyway."""
