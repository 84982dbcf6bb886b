"""A walk over a parsed SELECT: what it calls and reads, and how large it becomes when it is bound.

DuckDB's ``json_serialize_sql`` gives the tree. A node that is not known here is refused: what a new
version of DuckDB adds is judged by somebody first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.sql.rules.aliases import weight_of_aliases
from chronoduck.sql.rules.bounds import (
    IN_REPEATS,
    MAX_COLUMNS,
    MAX_COPIES,
    MAX_DEPTH,
    MAX_DISTINCT,
    MAX_JOINS,
    MAX_LEVELS,
    MAX_NESTED_VALUES,
    MAX_SET_OPERATIONS,
    MAX_STARS,
    MAX_TABLES,
    MAX_TERMS,
    MAX_WIDTH,
    MAX_WINDOWS,
    REPEATING,
)
from chronoduck.sql.rules.calls import judge_call
from chronoduck.sql.rules.file_names import is_file_name
from chronoduck.sql.rules.functions import DENIED_VIEWS
from chronoduck.sql.rules.known_settings import ALLOWED_SETTINGS
from chronoduck.sql.rules.lookup import Names
from chronoduck.sql.rules.refusals import refuse, refuse_again, refuse_own_schema
from chronoduck.sql.rules.shapes import Shape, levels_built
from chronoduck.sql.rules.sizes import Sizes

__all__ = ["TreeFacts", "walk"]

_READING_NODES = frozenset(
    {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE", "VALUES_NODE"}
)
_WRITING_NODES = frozenset({"INSERT_QUERY_NODE", "UPDATE_QUERY_NODE", "DELETE_QUERY_NODE"})
"""Bodies of CTEs that change data, from DuckDB 2.0 on."""
_RELATIONS = frozenset(
    "BASE_TABLE SUBQUERY JOIN TABLE_FUNCTION EXPRESSION_LIST EMPTY EMPTY_FROM PIVOT SHOW_REF "
    "COLUMN_DATA".split()
)
_COUNTED_RELATIONS = _RELATIONS - {"JOIN", "EMPTY", "EMPTY_FROM"}
_RELATION_KEYS = ("from_table", "source", "left", "right")
_LISTS = frozenset({"COMPARE_IN", "COMPARE_NOT_IN"})
_SHOWN = frozenset(
    "tables databases schemas variables functions types __show_tables_expanded".split()
)
_SEQUENCES = frozenset({"nextval", "setval"})
_CLAMP = 10**9


class _Place(NamedTuple):
    """Where a node stands: how deep, and how often it is made."""

    depth: int
    copies: int
    """How often it is bound."""
    plans: int
    """How often it is planned."""
    built: int
    """How many lists, structs and maps hold its value."""
    width: int = 1
    """How often the stars around it repeat its columns."""

    def inside(self, copies: int, deeper: int, *, is_planned: bool = False) -> _Place:
        """Return the place of the operands of something that repeats them."""
        if copies <= 1 and not deeper:
            return self
        return _Place(
            self.depth + deeper,
            min(self.copies * copies, _CLAMP),
            min(self.plans * copies, _CLAMP) if is_planned else self.plans,
            self.built,
            self.width,
        )


@dataclass
class TreeFacts:
    """What a tree holds, with every macro and view written out; see ``Expansion``."""

    nodes: int = 0
    depth: int = 0
    tables: int = 0
    writes: bool = False
    growth: float = 1.0
    columns: Counter[str] = field(default_factory=Counter)
    """How often a column without a table's name is used, repeated operands counted."""


class _Walk:
    """One walk. A stack, not recursion: trees are as deep as their authors like."""

    def __init__(self, names: Names, inlines: bool) -> None:
        self._names = names
        self._inlines = inlines
        self._sizes = Sizes(names)
        self._shape = Shape()
        self.facts = TreeFacts()
        self._plain = 0
        """Expressions as they are written."""
        self._terms = 0
        self._columns = 0
        self._stars = 0
        self._unions = 0
        self._joins = 0
        self._windows = 0
        self._distinct = 0
        self._ctes: set[str] = set()
        self._references: Counter[str] = Counter()
        self._star_references: Counter[str] = Counter()
        self._stack: list[tuple[dict[str, Any], _Place, int, bool]] = []

    def run(self, document: dict[str, Any]) -> TreeFacts:
        self._stack.append((document, _Place(0, 1, 1, 0), 0, False))
        while self._stack:
            self._visit(*self._stack.pop())
        self._check_totals()
        self._sizes.check()
        self.facts.growth = self._sizes.growth
        return self.facts

    def _visit(self, node: dict[str, Any], place: _Place, level: int, is_table_call: bool) -> None:
        kind = node.get("type")
        call = None
        if "class" in node:
            level += 1
            if level > MAX_LEVELS:
                refuse("nesting", f"expressions are nested more than {MAX_LEVELS} deep")
            place = self._visit_expression(node["class"], kind, node, place, level)
        elif isinstance(kind, str):
            if kind.endswith("_NODE"):
                place = self._visit_query(kind, node, place)
            elif kind == "JOIN":
                self._joins += 1
                self._shape.note_join(node)
            elif kind in _COUNTED_RELATIONS:
                call = self._visit_relation(kind, node, place)
        if isinstance(node.get("function_name"), str):
            place = self._visit_call(node, place, is_table_call)
        if place.depth > self.facts.depth:
            self._deepen(place.depth)
        self._push_parts(node, place, level, call)

    def _push_parts(
        self, node: dict[str, Any], place: _Place, level: int, call: dict[str, Any] | None
    ) -> None:
        for key, value in node.items():
            if value.__class__ is dict:
                if key in _RELATION_KEYS and "class" not in value:
                    _check_relation(value)
                self._stack.append((value, place, level, value is call))
            elif value.__class__ is list:
                self._push_list(value, place, level)

    def _push_list(self, items: list[Any], place: _Place, level: int) -> None:
        for item in items:
            if item.__class__ is dict:
                self._stack.append((item, place, level, False))
            elif item.__class__ is list:
                self._push_list(item, place, level)

    def _visit_expression(
        self, expression: str, kind: object, node: dict[str, Any], place: _Place, level: int
    ) -> _Place:
        self._plain += 1
        self._count(place.copies)
        if not self._names.is_trusted:
            self._sizes.note(node)
        repeats = REPEATING.get(expression)
        if repeats is not None:
            return place.inside(repeats, 1)
        levels = levels_built(node)
        if levels:
            place = place._replace(built=place.built + levels)
            if place.built > MAX_NESTED_VALUES:
                refuse("nesting", f"values are nested more than {MAX_NESTED_VALUES} deep")
        if kind in _LISTS and node.get("children"):
            # The value before IN is bound again and again, the list behind it once.
            again = place.inside(IN_REPEATS - 1, 0)
            self._stack.append((node["children"][0], again, level, False))
        if expression == "CONJUNCTION":
            self._terms += len(node.get("children", ()))
        elif expression == "STAR":
            self._stars += 1
        elif expression == "WINDOW":
            self._windows += 1
        elif expression == "FUNCTION":
            self._distinct += bool(node.get("distinct"))
        elif expression == "COLUMN_REF":
            path = node.get("column_names", ())
            if len(path) == 1:
                self.facts.columns[str(path[0]).lower()] += place.copies
        return place

    def _visit_call(self, node: dict[str, Any], place: _Place, is_table_call: bool) -> _Place:
        name = str(node["function_name"]).lower()
        _refuse_own((node.get("catalog"), node.get("schema")))
        expansion = judge_call(name, node, self._names, is_in_from=is_table_call)
        self.facts.writes |= name in _SEQUENCES and not self._names.is_trusted
        if expansion is not None:
            self._count(place.copies * expansion.nodes)
            self.facts.tables += place.plans * expansion.tables
            self.facts.writes |= expansion.writes
            place = place.inside(
                expansion.copies, expansion.depth + (expansion.copies > 1), is_planned=True
            )
        if is_table_call:
            self._sizes.note_streamed(node)
        return place

    def _count(self, nodes: int) -> None:
        self.facts.nodes += nodes
        if self.facts.nodes - self._plain > MAX_COPIES:
            refuse(
                "expansion",
                "the statement becomes too large when its macros, views and repeated operands are "
                "written out",
            )

    def _deepen(self, depth: int) -> None:
        self.facts.depth = depth
        if depth > MAX_DEPTH:
            refuse(
                "nesting",
                f"more than {MAX_DEPTH} of subqueries, lambdas, ->, BETWEEN, NULLIF and macros are "
                "inside each other",
            )

    def _visit_query(self, kind: str, node: dict[str, Any], place: _Place) -> _Place:
        if kind not in _READING_NODES:
            if kind == "COPY_QUERY_NODE":
                refuse("copy", "a CTE holds a COPY statement")
            if kind not in _WRITING_NODES:
                refuse("unreadable", f"the statement holds a part that is not known here: {kind}")
            if not self._names.may_write:
                refuse("write-in-query", "the query holds a statement that writes")
            self.facts.writes = True
        self._shape.note_groups(node)
        selected = node.get("select_list", ())
        self._columns += len(selected)
        self._unions += kind == "SET_OPERATION_NODE"
        self._unions += max(0, len(node.get("children", ())) - 2)
        for entry in (node.get("cte_map") or {}).get("map", ()):
            self._ctes.add(str(entry.get("key")).lower())
        self.facts.nodes += weight_of_aliases(node, self._names)
        self._count(0)
        return self._widened(selected, node.get("from_table"), place)

    def _widened(self, selected: list[Any], source: Any, place: _Place) -> _Place:
        """Return the place of what a query reads: every star repeats the columns of all of it."""
        stars = sum(item.get("class") == "STAR" for item in selected if isinstance(item, dict))
        if not stars or not isinstance(source, dict):
            return place
        leaves = _leaves(source)
        for leaf in leaves:
            if leaf.get("type") == "BASE_TABLE":
                self._star_references[str(leaf.get("table_name")).lower()] += stars
        width = place.width * stars * max(1, len(leaves))
        if width > MAX_WIDTH:
            refuse("expansion", "the stars inside each other make too many columns")
        return place if width == place.width else place._replace(width=width)

    def _check_totals(self) -> None:
        # CTEs that are NOT MATERIALIZED are written out wherever they are read.
        copies = width = 1
        for name in self._ctes:
            copies *= max(1, self._references[name])
            width *= max(1, self._star_references[name])
        if self._inlines and copies > MAX_TABLES:
            refuse("expansion", "NOT MATERIALIZED would write out the CTEs too often")
        if width > MAX_WIDTH:
            refuse("expansion", "the stars of CTEs that read each other make too many columns")
        if (
            self._terms > MAX_TERMS
            or self._joins > MAX_JOINS
            or self._windows > MAX_WINDOWS
            or self._distinct > MAX_DISTINCT
            or self._columns > MAX_COLUMNS
            or self._stars > MAX_STARS
            or self._unions > MAX_SET_OPERATIONS
            or self.facts.tables > MAX_TABLES
        ):
            refuse(
                "too-many-terms",
                f"at most {MAX_TERMS:,} terms of AND and OR, {MAX_COLUMNS:,} columns, {MAX_STARS} "
                f"stars, {MAX_WINDOWS} window functions, {MAX_DISTINCT} DISTINCT aggregates, "
                f"{MAX_SET_OPERATIONS} UNIONs, {MAX_JOINS} joins and {MAX_TABLES} tables are planned",
            )

    def _visit_relation(
        self, kind: str, node: dict[str, Any], place: _Place
    ) -> dict[str, Any] | None:
        """Judge a relation; return the call of a table function."""
        self._count(place.copies)
        if kind == "TABLE_FUNCTION":
            self.facts.tables += place.plans
            call = node.get("function")
            if not isinstance(call, dict) or not call.get("function_name"):
                refuse("unreadable", "the statement calls something in FROM that is not a function")
            return call
        if kind == "SHOW_REF":
            _refuse_own(node.get(part) for part in ("catalog_name", "schema_name", "table_name"))
            shown = str(node.get("table_name", "")).strip('"').lower()
            if node.get("show_type") == "SHOW" and shown not in ALLOWED_SETTINGS:
                refuse("settings", "SHOW tells only harmless settings", "DESCRIBE shows a table.")
            if shown and shown not in _SHOWN:
                self._table([shown], node, place)
        elif kind == "PIVOT":
            made = 1
            for pivot in node.get("pivots", ()):
                made *= max(1, len(pivot.get("entries", ())))
            self._columns += made
        elif kind == "BASE_TABLE":
            path = [node.get(part) for part in ("catalog_name", "schema_name", "table_name")]
            self._table([str(part) for part in path if part], node, place)
            return None
        self.facts.tables += place.plans
        return None

    def _table(self, path: list[str], node: dict[str, Any], place: _Place) -> None:
        qualified = node.get("qualified_name")
        if isinstance(qualified, dict) and qualified.get("path"):
            path = [named for part in qualified["path"] if (named := str(part).strip('"'))]
        if self._names.is_trusted:
            return
        if not path:
            refuse("unreadable", "a table without a name")
        _refuse_own(path)
        name = path[-1].lower()
        if is_file_name(path):
            refuse(
                "files",
                f"{'.'.join(path)[:100]!r} in FROM would be read as a file",
            )
        if name in DENIED_VIEWS:
            refuse(DENIED_VIEWS[name], f"{name} is not for statements of users")
        self._references[name] += 1
        view = self._names.view(name)
        if view is None:
            self.facts.tables += place.plans
            return
        if view.refusal is not None:
            refuse_again(view.refusal)
        self._deepen(max(self.facts.depth, view.depth))
        self._count(place.copies * view.nodes)
        self._sizes.note_view(view.growth)
        self.facts.tables += place.plans * view.tables


def _refuse_own(path: Iterable[object]) -> None:
    """Refuse the service's own schema, by DuckDB's reading of the name."""
    if any(str(part).strip('"').lower() == OWN_SCHEMA for part in path):
        refuse_own_schema()


def _check_relation(node: dict[str, Any]) -> None:
    kind = node.get("type")
    if kind is not None and kind not in _RELATIONS and not str(kind).endswith("_NODE"):
        refuse("unreadable", f"the statement reads from something that is not known here: {kind}")


def _leaves(source: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the relations that a tree of joins is made of."""
    leaves, stack = [], [source]
    while stack:
        relation = stack.pop()
        if relation.get("type") == "JOIN":
            stack += [relation[side] for side in ("left", "right") if side in relation]
        else:
            leaves.append(relation)
    return leaves


def walk(document: dict[str, Any], sql: str, names: Names) -> TreeFacts:
    """Return what a tree holds; ``sql`` is its text.

    Raises:
        StatementRefusedError: it holds something that statements of users may not.
    """
    # The trees of DuckDB 1.5 do not tell a CTE that is NOT MATERIALIZED.
    words = sql.lower()
    return _Walk(names, "materialized" in words and "not" in words).run(document)
