"""What a SELECT holds, as plain facts: ``walk.py`` finds them, ``rules`` and ``scopes`` judge them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, NamedTuple

__all__ = ["RELATIONS", "Part", "PartRole", "StatementFacts"]

_READING = frozenset(
    {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE", "VALUES_NODE"}
)
"""Kinds of queries that only read. The others are bodies of CTEs, from DuckDB 2.0 on."""

RELATIONS = frozenset(
    "BASE_TABLE SUBQUERY TABLE_FUNCTION EXPRESSION_LIST PIVOT SHOW_REF COLUMN_DATA".split()
)
"""Kinds of what is read from, without joins and nothing."""


class PartRole(IntEnum):
    """What a part is to the one that holds it."""

    OTHER = 0
    RELATION = 1
    """A query, a join or a PIVOT reads from it."""
    TABLE_CALL = 2
    """The function that is called in FROM."""
    LISTED = 3
    """The value before IN."""


class Part(NamedTuple):
    """One expression, query, relation, modifier or type of a statement.

    ``parent``: the index of the part that holds it, -1 for none; ``key``: under which of its names.
    ``kind`` and ``expression``: DuckDB's type and class; empty: it has none. ``level``: how many
    expressions nest here. ``node``: DuckDB's description, whose parts are parts of their own.
    """

    parent: int
    key: str
    role: PartRole
    kind: str
    expression: str
    level: int
    node: dict[str, Any]

    @property
    def is_in_list(self) -> bool:
        """Whether it compares a value with a list."""
        return self.kind in ("COMPARE_IN", "COMPARE_NOT_IN")

    @property
    def is_reading(self) -> bool:
        """Whether a query only reads."""
        return self.kind in _READING

    @property
    def qualified(self) -> list[str]:
        """The parts of a qualified name, as DuckDB 2.0 writes them; empty on 1.5."""
        return list((self.node.get("qualified_name") or {}).get("path") or ())

    @property
    def table(self) -> tuple[str, str, str]:
        """Catalog, schema and name of a table as they are written; an empty one is not given."""
        get = self.node.get
        return (
            str(get("catalog_name") or ""),
            str(get("schema_name") or ""),
            str(get("table_name") or ""),
        )


@dataclass(frozen=True)
class StatementFacts:
    """All parts of one statement as they are written, each before those that it holds.

    ``text`` is what DuckDB has parsed; ``calls`` and what follows are indices of parts.
    """

    text: str
    parts: tuple[Part, ...]
    calls: tuple[int, ...]
    """Functions, operators that are written as functions, and window functions."""
    relations: tuple[int, ...]
    """What is read from: tables, calls, subqueries, PIVOT, SHOW, rows; no joins."""
    queries: tuple[int, ...]
    ctes: frozenset[str]
    """Names in WITH clauses, as they are written."""

    @property
    def writes(self) -> bool:
        """Whether a CTE of it changes data or writes a file."""
        return not all(self.parts[index].is_reading for index in self.queries)

    @cached_property
    def ends(self) -> list[int]:
        """For each part the index behind the last one inside it: they follow it without a gap."""
        ends = list(range(1, len(self.parts) + 1))
        for index in range(len(ends) - 1, 0, -1):
            parent = self.parts[index].parent
            if parent >= 0:
                ends[parent] = max(ends[parent], ends[index])
        return ends

    @cached_property
    def sources(self) -> dict[int, list[Part]]:
        """For each query the relations in its FROM, taken out of their joins."""
        found: dict[int, list[Part]] = {}
        query_of: dict[int, int] = {}
        for index, part in enumerate(self.parts):
            if part.role is not PartRole.RELATION:
                continue
            query = part.parent if part.key == "from_table" else query_of.get(part.parent)
            if query is None:
                continue
            if part.kind == "JOIN":
                query_of[index] = query
            else:
                found.setdefault(query, []).append(part)
        return found
