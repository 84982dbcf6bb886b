"""Types that users' statements may not make values of, and how deep a type may nest.

A cast of JSON to VARIANT calls itself for each level of the text: 20,000 brackets end the process on
DuckDB 1.5.5 and 2.0.1. DuckDB adds such casts by itself wherever a VARIANT stands beside JSON: in the
recursive part of a CTE, in INSERT, in ``remap_struct`` and ``replace_type``. So no statement of a user
makes a VARIANT, of anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chronoduck.sql.rules.bounds import MAX_NESTED_VALUES
from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.tokens import Token

__all__ = ["judge_cast", "judge_type_words"]

_REFUSED_TYPES = frozenset({"variant", "parquet_variant"})
_OF_TYPES = frozenset({"map", "list", "array", "tuple"})
"""Behind their bracket types follow; behind that of STRUCT, UNION and a table, names."""
_CASTS = frozenset({"cast", "try_cast"})
_BEFORE_NAMES = frozenset(
    "column add exists to rename drop alter table into on by from select where and or not in set update "
    "key references using when then else case distinct all join values returning default unique primary "
    "check is between view index schema sequence only delete insert conflict do matched".split()
)
"""Behind one of these words a name stands, not a type."""


def judge_cast(node: dict[str, Any]) -> frozenset[str]:
    """Return the types that a cast names; refuse those that users' statements make no values of.

    Raises:
        StatementRefusedError: rule ``variant`` or ``nesting``.
    """
    found: set[str] = set()
    stack: list[tuple[Any, int]] = [(node.get("type_expr"), 0), (node.get("cast_type"), 0)]
    while stack:
        part, depth = stack.pop()
        if isinstance(part, list):
            stack.extend((item, depth) for item in part)
            continue
        if not isinstance(part, dict):
            continue
        if depth > MAX_NESTED_VALUES:
            refuse("nesting", f"types are nested more than {MAX_NESTED_VALUES} deep")
        # ``type_name`` in trees of DuckDB 2.0; ``id`` and ``name`` in those of 1.5.
        for key in ("type_name", "id", "name"):
            type_ = str(part.get(key, "")).lower()
            if type_ in _REFUSED_TYPES:
                _refuse_variant()
            found.add(type_)
        is_type = "type_name" in part or "id" in part
        stack.extend((value, depth + is_type) for value in part.values())
    return frozenset(found)


def _refuse_variant() -> None:
    refuse("variant", "statements of users make no values of type VARIANT")


def judge_type_words(tokens: Sequence[Token], covered: Sequence[bool]) -> None:
    """Refuse VARIANT as a type in the parts of a statement that no tree tells.

    Columns, fields and parameters may be called so.

    Raises:
        StatementRefusedError: rule ``variant``.
    """
    openers: list[int] = []
    for index, token in enumerate(tokens):
        if token.kind == "operator":
            if token.text == "(":
                openers.append(index)
            elif token.text == ")" and openers:
                openers.pop()
        elif (
            token.is_name
            and token.text in _REFUSED_TYPES
            and not (index < len(covered) and covered[index])
            and _is_type(tokens, index, openers[-1] if openers else None)
        ):
            _refuse_variant()


def _is_type(tokens: Sequence[Token], index: int, opener: int | None) -> bool:
    """Whether a type stands at ``index``, not a name; ``opener``: the bracket around it."""
    first = index
    while first >= 2 and tokens[first - 1].text == "." and tokens[first - 2].is_name:
        first -= 2
    if first == 0:
        return False
    before = tokens[first - 1]
    if before.kind == "operator":
        if before.text == "::":
            return True
        word = tokens[opener - 1].text if opener else ""
        return before.text in ("(", ",") and word in _OF_TYPES
    if not before.is_name:
        return False
    if before.kind == "word" and before.text == "as":
        kind = tokens[0].text
        word = tokens[opener - 1].text if opener else ""
        return word in _CASTS or (kind == "create" and opener is None)
    return before.kind == "quoted" or before.text not in _BEFORE_NAMES
