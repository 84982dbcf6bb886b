"""The one walk over DuckDB's tree of a SELECT (``json_serialize_sql``)."""

from __future__ import annotations

from typing import Any

from chronoduck.sql.facts import RELATIONS, Part, PartRole, StatementFacts

__all__ = ["walk"]

_MARKS = frozenset({"class", "type", "function_name", "catalog", "catalog_name"})
"""What has one of these is a part; everything else only holds parts."""
_RELATION_KEYS = frozenset({"from_table", "source", "left", "right"})
_Held = tuple[dict[str, Any], int, str, PartRole, int]
"""A description, the part that holds it, under which key, as what, and the level there."""


def walk(tree: dict[str, Any], text: str) -> StatementFacts:
    """Return what one statement holds, by its tree.

    A stack, not recursion: trees are as deep as their authors like. Constants stay closed: what
    stands in them is data.
    """
    parts: list[Part] = []
    calls: list[int] = []
    relations: list[int] = []
    queries: list[int] = []
    ctes: set[str] = set()
    stack: list[_Held] = [(tree, -1, "", PartRole.OTHER, 0)]
    while stack:
        node, index, key, role, level = stack.pop()
        part = None
        if not _MARKS.isdisjoint(node):
            kind, expression = node.get("type"), node.get("class") or ""
            level += bool(expression)
            part = Part(
                index, key, role, kind if isinstance(kind, str) else "", expression, level, node
            )
            index, key = len(parts), ""
            parts.append(part)
            if isinstance(node.get("function_name"), str):
                calls.append(index)
            if expression == "CONSTANT":
                continue
            if not expression and part.kind in RELATIONS:
                relations.append(index)
            elif not expression and part.kind.endswith("_NODE"):
                queries.append(index)
                ctes.update(_ctes_of(node))
        stack.extend(reversed(_held(node, part, index, key, level)))
    return StatementFacts(
        text, tuple(parts), tuple(calls), tuple(relations), tuple(queries), frozenset(ctes)
    )


def _held(node: dict[str, Any], part: Part | None, index: int, key: str, level: int) -> list[_Held]:
    """Return what a description holds; ``index``: of the part it is or stands in, under ``key``."""
    held: list[_Held] = []
    for name, value in node.items():
        if value.__class__ is dict:
            role = PartRole.OTHER
            if name in _RELATION_KEYS and "class" not in value:
                role = PartRole.RELATION
            elif name == "function" and part is not None and part.kind == "TABLE_FUNCTION":
                role = PartRole.TABLE_CALL
            held.append((value, index, key or name, role, level))
        elif value.__class__ is list:
            first = len(held)
            _hold_list(held, value, index, key or name, level)
            if name == "children" and part is not None and part.is_in_list and len(held) > first:
                held[first] = (*held[first][:3], PartRole.LISTED, level)
    return held


def _hold_list(held: list[_Held], items: list[Any], index: int, key: str, level: int) -> None:
    for item in items:
        if item.__class__ is dict:
            held.append((item, index, key, PartRole.OTHER, level))
        elif item.__class__ is list:
            _hold_list(held, item, index, key, level)


def _ctes_of(query: dict[str, Any]) -> list[str]:
    named = [query.get("cte_name") or query.get("ctename")] if "CTE" in query["type"] else []
    named += [entry.get("key") for entry in (query.get("cte_map") or {}).get("map") or ()]
    return [str(name or "") for name in named]
