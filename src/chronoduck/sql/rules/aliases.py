"""Columns of a SELECT that use the names of the ones before: DuckDB writes them out."""

from __future__ import annotations

from typing import Any

from chronoduck.sql.rules.bounds import IN_REPEATS, REPEATING
from chronoduck.sql.rules.lookup import Names

__all__ = ["weight_of_aliases"]

_CLAMP = 10**9
_FEW = 4
"""With fewer aliases there is little to write out."""


def weight_of_aliases(query: dict[str, Any], names: Names) -> int:
    """Return how many expressions a query has beyond its own once its aliases are written out.

    ``SELECT a + a AS b, b + b AS c, c + c AS d, ...`` doubles with each.
    """
    selected = [item for item in query.get("select_list", ()) if isinstance(item, dict)]
    if sum("alias" in item for item in selected) < _FEW:
        return 0
    weights: dict[str, int] = {}
    total = 0
    for item in selected:
        own, used = _weight(item, weights, names)
        total += used
        if "alias" in item:
            name = str(item["alias"]).lower()
            weights[name] = max(weights.get(name, 0), min(own + used, _CLAMP))
    for key, part in query.items():
        if key not in ("select_list", "from_table", "cte_map") and isinstance(part, dict | list):
            total += _weight(part, weights, names)[1]
    return min(total, _CLAMP)


def _weight(part: Any, weights: dict[str, int], names: Names) -> tuple[int, int]:
    """Return how many expressions a part has, and how many the aliases in it stand for."""
    own = used = 0
    stack: list[tuple[Any, int]] = [(part, 1)]
    while stack:
        node, copies = stack.pop()
        if isinstance(node, list):
            stack.extend((item, copies) for item in node if isinstance(item, dict | list))
            continue
        expression = node.get("class")
        if expression is not None:
            own += copies
            copies *= REPEATING.get(expression, 1)
            if node.get("type") in ("COMPARE_IN", "COMPARE_NOT_IN"):
                copies *= IN_REPEATS
            path = node.get("column_names")
            if path is not None and len(path) == 1:
                used += copies * weights.get(str(path[0]).lower(), 0)
        name = node.get("function_name")
        if isinstance(name, str):
            expansion = names.macro(name.lower())
            if expansion is not None:
                copies *= max(1, expansion.copies)
        copies = min(copies, _CLAMP)
        stack.extend((value, copies) for value in node.values() if isinstance(value, dict | list))
    return min(own, _CLAMP), min(used, _CLAMP)
