"""Columns of a SELECT that use the names of the ones before: DuckDB writes them out."""

from __future__ import annotations

from collections.abc import Mapping

from chronoduck.sql.facts import StatementFacts
from chronoduck.sql.rules.bounds import IN_REPEATS, REPEATING
from chronoduck.sql.rules.reads import Expansions

__all__ = ["weight_of_aliases"]

_CLAMP = 10**9
_FEW = 4
"""With fewer aliases there is little to write out."""


def weight_of_aliases(facts: StatementFacts, query: int, expansions: Expansions) -> int:
    """Return how many expressions a query has beyond its own once its aliases are written out.

    ``SELECT a + a AS b, b + b AS c, c + c AS d, ...`` doubles with each.
    """
    selected = facts.parts[query].node.get("select_list", ())
    if sum("alias" in item for item in selected) < _FEW:
        return 0
    weights: dict[str, int] = {}
    total = 0
    clauses: list[int] = []
    index = query + 1
    while index < facts.ends[query]:
        part = facts.parts[index]
        if part.key == "select_list":
            own, used = _weight(facts, index, weights, expansions)
            total += used
            if "alias" in part.node:
                name = str(part.node["alias"]).lower()
                weights[name] = max(weights.get(name, 0), min(own + used, _CLAMP))
        elif part.key not in ("from_table", "cte_map"):
            clauses.append(index)
        index = facts.ends[index]
    total += sum(_weight(facts, clause, weights, expansions)[1] for clause in clauses)
    return min(total, _CLAMP)


def _weight(
    facts: StatementFacts, first: int, weights: Mapping[str, int], expansions: Expansions
) -> tuple[int, int]:
    """Return how many expressions a part has, and how many the aliases in it stand for."""
    own = used = 0
    inside: dict[int, int] = {facts.parts[first].parent: 1}
    for index in range(first, facts.ends[first]):
        part = facts.parts[index]
        copies = inside[part.parent]
        if part.expression:
            own += copies
            copies *= REPEATING.get(part.expression, 1)
            copies *= IN_REPEATS if part.is_in_list else 1
            path = part.node.get("column_names", ())
            used += copies * weights.get(str(path[0]).lower(), 0) if len(path) == 1 else 0
        macro = expansions.get(index)
        copies *= 1 if macro is None else max(1, macro.copies)
        inside[index] = min(copies, _CLAMP)
    return min(own, _CLAMP), min(used, _CLAMP)
