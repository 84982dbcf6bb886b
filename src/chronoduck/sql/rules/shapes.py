"""The shape of a query where DuckDB plans it without listening to an interrupt.

Measured on DuckDB 1.5.5 with an interrupt after a second: structs nested 240 deep bind for 21 s, a
NATURAL JOIN of 50 tables of 60 columns for more than 45 s (2.0.1, too), sums of ``COLUMNS(*)`` over
4,000 columns for 30 s, a CUBE of 15 columns for 8 s.
"""

from __future__ import annotations

from typing import Any

from chronoduck.sql.rules.bounds import (
    MAX_GROUPING_SETS,
    MAX_NATURAL_JOINS,
    MAX_NESTED_VALUES,
    MAX_USING_COLUMNS,
    arguments_of,
)
from chronoduck.sql.rules.refusals import refuse

__all__ = ["Shape", "judge_structure", "levels_built"]

_CONSTRUCTORS = frozenset(
    "struct_pack row list_value list_pack array_value map map_from_entries union_value struct_insert "
    "struct_update struct_concat json_array json_object list_zip array_zip remap_struct list array_agg "
    "list_append list_prepend list_resize list_concat".split()
)
"""Calls whose value holds the values of their arguments; ``[...]`` is ARRAY_CONSTRUCTOR."""
_MAPS = frozenset({"map", "map_from_entries", "map_concat"})
"""A map is a list of structs."""
_OPENERS, _CLOSERS = "[{(", "]})"


class Shape:
    """Counts of one statement, and of the values that it builds."""

    def __init__(self) -> None:
        self._natural = 0
        self._using = 0
        self._sets = 0

    def note_join(self, node: dict[str, Any], times: int) -> None:
        """Count a join's common columns, as often as it is written.

        Raises:
            StatementRefusedError: there are too many.
        """
        self._natural += times * (node.get("ref_type") == "NATURAL")
        self._using += times * len(node.get("using_columns") or ())
        if self._natural > MAX_NATURAL_JOINS or self._using > MAX_USING_COLUMNS:
            refuse(
                "too-many-terms",
                f"at most {MAX_NATURAL_JOINS} NATURAL JOINs and {MAX_USING_COLUMNS} columns of USING "
                "are planned",
            )

    def note_groups(self, node: dict[str, Any], times: int) -> None:
        """Count the grouping sets of a query, as often as it is written.

        Raises:
            StatementRefusedError: there are too many.
        """
        self._sets += times * len(node.get("group_sets") or ())
        if self._sets > MAX_GROUPING_SETS:
            refuse("too-many-terms", f"at most {MAX_GROUPING_SETS:,} grouping sets are planned")


def levels_built(node: dict[str, Any]) -> int:
    """Return how many levels an expression adds around its operands' values."""
    if node.get("type") == "ARRAY_CONSTRUCTOR":
        return 1
    name = node.get("function_name")
    if name is None:
        return 0
    name = str(name).lower()
    return 2 if name in _MAPS else int(name in _CONSTRUCTORS)


def judge_structure(node: dict[str, Any], text: str | None) -> None:
    """Refuse a JSON structure (of ``json_transform``) that is no literal, or is nested too deeply.

    Raises:
        StatementRefusedError: rule ``nesting``.
    """
    if text is None:
        if len(arguments_of(node)) > 1:
            refuse("nesting", "the structure of a JSON text is given as a literal")
        return
    depth = 0
    for character in text:
        if character in _OPENERS:
            depth += 1
            if depth > MAX_NESTED_VALUES:
                refuse("nesting", f"a structure is nested more than {MAX_NESTED_VALUES} deep")
        elif character in _CLOSERS:
            depth -= 1
