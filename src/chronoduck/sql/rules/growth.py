"""How large a SELECT becomes when DuckDB binds it, with every macro, view and alias written out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from chronoduck.sql.facts import RELATIONS, Part, PartRole, StatementFacts
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
from chronoduck.sql.rules.lookup import Names
from chronoduck.sql.rules.reads import Expansions, judge_reads, table_name
from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.rules.shapes import Shape, levels_built
from chronoduck.sql.rules.sizes import Sizes

__all__ = ["Growth", "judge_facts"]

_SEQUENCES = frozenset({"nextval", "setval"})
_CLAMP = 10**9
_BOUNDS = {
    "terms": MAX_TERMS,
    "joins": MAX_JOINS,
    "windows": MAX_WINDOWS,
    "distinct": MAX_DISTINCT,
    "columns": MAX_COLUMNS,
    "stars": MAX_STARS,
    "unions": MAX_SET_OPERATIONS,
    "tables": MAX_TABLES,
}


class _Place(NamedTuple):
    """Where a part stands: how deep, and how often it is made."""

    depth: int
    copies: int
    """How often it is bound."""
    plans: int
    """How often it is planned."""
    built: int
    """How many lists, structs and maps hold its value."""
    width: int
    """How often the stars around it repeat its columns."""
    written: int
    """How often it counts as written: twice before each IN."""

    def inside(self, copies: int, deeper: int, *, is_planned: bool = False) -> _Place:
        """Return the place of the operands of something that repeats them."""
        if copies <= 1 and not deeper:
            return self
        return self._replace(
            depth=self.depth + deeper,
            copies=min(self.copies * copies, _CLAMP),
            plans=min(self.plans * copies, _CLAMP) if is_planned else self.plans,
        )

    def listed(self) -> _Place:
        """Return the place of the value before IN: it is bound for every value of the list."""
        return self._replace(
            copies=min(self.copies * IN_REPEATS, _CLAMP),
            plans=min(self.plans * 2, _CLAMP),
            written=min(self.written * 2, _CLAMP),
        )


_OUTSIDE = _Place(depth=0, copies=1, plans=1, built=0, width=1, written=1)


@dataclass
class Growth:
    """What a SELECT becomes when it is written out; see ``Expansion``."""

    nodes: int = 0
    depth: int = 0
    tables: int = 0
    writes: bool = False
    growth: float = 1.0
    columns: Counter[str] = field(default_factory=Counter)
    """How often a column without a table's name is used, repeated operands counted."""


class _Measure:
    """One pass over the facts, from the outside to the inside."""

    def __init__(self, facts: StatementFacts, names: Names, expansions: Expansions) -> None:
        self._facts = facts
        self._names = names
        self._expansions = expansions
        self._places: list[_Place] = []
        """For each part, the place of what it holds."""
        self.sizes = Sizes(names)
        self._shape = Shape()
        self.growth = Growth(writes=facts.writes)
        self._plain = 0
        """Expressions as they are written."""
        self._counts: Counter[str] = Counter()
        self._references: Counter[str] = Counter()
        self._star_references: Counter[str] = Counter()

    def run(self) -> None:
        """Count everything."""
        for index, part in enumerate(self._facts.parts):
            place = self._places[part.parent] if part.parent >= 0 else _OUTSIDE
            if part.role is PartRole.LISTED:
                place = place.listed()
            if part.expression:
                place = self._expression(part, place)
            elif part.kind.endswith("_NODE"):
                place = self._query(index, part, place)
            elif part.kind == "JOIN":
                self._counts["joins"] += place.written
                self._shape.note_join(part.node, place.written)
            elif part.kind in RELATIONS:
                self._relation(index, part, place)
            if isinstance(part.node.get("function_name"), str):
                place = self._call(index, part, place)
            if place.depth > self.growth.depth:
                self._deepen(place.depth)
            self._places.append(place)

    def _expression(self, part: Part, place: _Place) -> _Place:
        if part.level > MAX_LEVELS:
            refuse("nesting", f"expressions are nested more than {MAX_LEVELS} deep")
        self._plain += place.written
        self._count(place.copies)
        if not self._names.is_trusted:
            self.sizes.note(part.node)
        repeats = REPEATING.get(part.expression)
        if repeats is not None:
            return place.inside(repeats, 1)
        levels = levels_built(part.node)
        if levels:
            place = place._replace(built=place.built + levels)
            if place.built > MAX_NESTED_VALUES:
                refuse("nesting", f"values are nested more than {MAX_NESTED_VALUES} deep")
        match part.expression:
            case "CONJUNCTION":
                self._counts["terms"] += place.written * len(part.node.get("children", ()))
            case "STAR":
                self._counts["stars"] += place.written
            case "WINDOW":
                self._counts["windows"] += place.written
            case "FUNCTION":
                self._counts["distinct"] += place.written * bool(part.node.get("distinct"))
            case "COLUMN_REF":
                path = part.node.get("column_names", ())
                if len(path) == 1:
                    self.growth.columns[str(path[0]).lower()] += place.copies
        return place

    def _query(self, index: int, part: Part, place: _Place) -> _Place:
        """Count a query; return the place of what is in it."""
        self._shape.note_groups(part.node, place.written)
        selected = part.node.get("select_list", ())
        unions = (part.kind == "SET_OPERATION_NODE") + max(
            0, len(part.node.get("children", ())) - 2
        )
        self._counts["columns"] += place.written * len(selected)
        self._counts["unions"] += place.written * unions
        self.growth.nodes += place.written * weight_of_aliases(self._facts, index, self._expansions)
        self._count(0)
        stars = sum(item.get("class") == "STAR" for item in selected if isinstance(item, dict))
        sources = self._facts.sources.get(index) if stars else None
        if not sources:
            return place
        # Every star repeats the columns of all that the query reads.
        for source in sources:
            if source.kind == "BASE_TABLE":
                self._star_references[source.table[-1].lower()] += place.written * stars
        width = place.width * stars * len(sources)
        if width > MAX_WIDTH:
            refuse("expansion", "the stars inside each other make too many columns")
        return place._replace(width=width)

    def _relation(self, index: int, part: Part, place: _Place) -> None:
        self._count(place.copies)
        if part.kind == "PIVOT":
            made = place.written
            for pivot in part.node.get("pivots", ()):
                made *= max(1, len(pivot.get("entries", ())))
            self._counts["columns"] += made
        view = self._expansions.get(index)
        name = None if self._names.is_trusted else table_name(part)
        if name is not None:
            self._references[name] += place.written
            if view is not None:
                self._deepen(max(self.growth.depth, view.depth))
                self._count(place.copies * view.nodes)
                self.sizes.note_view(view.growth)
        if part.kind != "BASE_TABLE" or not self._names.is_trusted:
            self.growth.tables += place.plans * (1 if view is None else view.tables)

    def _call(self, index: int, part: Part, place: _Place) -> _Place:
        if str(part.node["function_name"]).lower() in _SEQUENCES and not self._names.is_trusted:
            self.growth.writes = True
        macro = self._expansions.get(index)
        if macro is not None:
            self._count(place.copies * macro.nodes)
            self.growth.tables += place.plans * macro.tables
            self.growth.writes |= macro.writes
            deeper = macro.depth + (macro.copies > 1)
            place = place.inside(macro.copies, deeper, is_planned=True)
        if part.role is PartRole.TABLE_CALL:
            self.sizes.note_streamed(part.node)
        return place

    def _count(self, nodes: int) -> None:
        self.growth.nodes += nodes
        if self.growth.nodes - self._plain > MAX_COPIES:
            refuse(
                "expansion",
                "the statement becomes too large when its macros, views and repeated operands are "
                "written out",
            )

    def _deepen(self, depth: int) -> None:
        self.growth.depth = depth
        if depth > MAX_DEPTH:
            refuse(
                "nesting",
                f"more than {MAX_DEPTH} of subqueries, lambdas, ->, BETWEEN, NULLIF and macros are "
                "inside each other",
            )

    def check_totals(self, *, inlines: bool) -> None:
        """Judge what was counted; ``inlines``: CTEs may be written out where they are read."""
        copies = width = 1
        for name in {name.lower() for name in self._facts.ctes}:
            copies *= max(1, self._references[name])
            width *= max(1, self._star_references[name])
        if inlines and copies > MAX_TABLES:
            refuse("expansion", "NOT MATERIALIZED would write out the CTEs too often")
        if width > MAX_WIDTH:
            refuse("expansion", "the stars of CTEs that read each other make too many columns")
        self._counts["tables"] = self.growth.tables
        if any(self._counts[what] > bound for what, bound in _BOUNDS.items()):
            refuse(
                "too-many-terms",
                f"at most {MAX_TERMS:,} terms of AND and OR, {MAX_COLUMNS:,} columns, {MAX_STARS} "
                f"stars, {MAX_WINDOWS} window functions, {MAX_DISTINCT} DISTINCT aggregates, "
                f"{MAX_SET_OPERATIONS} UNIONs, {MAX_JOINS} joins and {MAX_TABLES} tables are planned",
            )


def judge_facts(facts: StatementFacts, names: Names) -> Growth:
    """Return what a SELECT becomes when it is written out.

    Raises:
        StatementRefusedError: it holds something that statements of users may not.
    """
    measure = _Measure(facts, names, judge_reads(facts, names))
    measure.run()
    # The trees of DuckDB 1.5 do not tell a CTE that is NOT MATERIALIZED.
    words = facts.text.lower()
    measure.check_totals(inlines="materialized" in words and "not" in words)
    measure.sizes.check()
    measure.growth.growth = measure.sizes.growth
    return measure.growth
