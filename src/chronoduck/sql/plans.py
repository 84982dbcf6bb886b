"""DuckDB's plan of a statement as names: the tables it reads and the functions it calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chronoduck.table_names import parse_table_name

__all__ = ["OPERATORS", "PlanNames", "read_plan"]

# What a plan is made of on 1.5 and 2.0, before it is optimized.
_OPERATORS = """
PROJECTION FILTER AGGREGATE WINDOW UNNEST LIMIT ORDER_BY TOP_N SAMPLE DISTINCT GET CHUNK_GET DELIM_GET
EXPRESSION_GET DUMMY_SCAN EMPTY_RESULT CTE_SCAN MATERIALIZED_CTE RECURSIVE_CTE CTE COMPARISON_JOIN
ANY_JOIN CROSS_PRODUCT POSITIONAL_JOIN ASOF_JOIN DELIM_JOIN DEPENDENT_JOIN UNION EXCEPT INTERSECT PIVOT
INSERT DELETE UPDATE MERGE_INTO CREATE_TABLE CREATE_INDEX CREATE_SEQUENCE CREATE_VIEW CREATE_SCHEMA
CREATE_MACRO CREATE_TYPE ALTER DROP EXPLAIN SHOW SEQ_SCAN COLUMN_DATA_SCAN LIMIT_PERCENT VACUUM
EXTENSION_OPERATOR COLUMN_DATA_GET
"""
OPERATORS = frozenset(_OPERATORS.split())
"""Everything else in a plan is the scan of a table function."""


@dataclass
class PlanNames:
    """The names in a plan, in lower case; ``tables`` as ``(catalog, schema, table)``.

    Functions behind an alias are not among them.
    """

    tables: set[tuple[str, ...]] = field(default_factory=set)
    table_functions: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)


def read_plan(plan: list[dict[str, Any]]) -> PlanNames:
    """Return the names in a plan as EXPLAIN (FORMAT json) gives it."""
    names = PlanNames()
    stack = list(plan)
    while stack:
        node = stack.pop()
        stack += node.get("children", ())
        name = str(node.get("name", "")).strip()
        if name not in OPERATORS:
            names.table_functions.add(name.lower())
        for key, value in (node.get("extra_info") or {}).items():
            text = "\n".join(value) if isinstance(value, list) else str(value)
            if key == "Table":
                names.tables.add(tuple(part.lower() for part in _path(text)))
            else:
                names.functions |= called_in(text)
    return names


def _path(text: str) -> tuple[str, ...]:
    try:
        return parse_table_name(text)
    except ValueError:  # of a version that writes names without quotes
        return tuple(text.replace('"', "").split("."))


def called_in(expression: str) -> set[str]:
    """Return the names before brackets in an expression as DuckDB writes it, in lower case."""
    found: set[str] = set()
    index, word = 0, ""
    while index < len(expression):
        character = expression[index]
        if character in "'\"":
            end = _end_of_quote(expression, index)
            word = expression[index + 1 : end - 1] if character == '"' else ""
            index = end
            continue
        if character.isalnum() or character in "_$" or character > "\x7f":
            word = word + character if word and _continues(expression, index) else character
        else:
            if character == "(" and word:
                found.add(word.replace('""', '"').lower())
            word = ""
        index += 1
    return found


def _continues(text: str, index: int) -> bool:
    before = text[index - 1]
    return before.isalnum() or before in "_$" or before > "\x7f"


def _end_of_quote(text: str, start: int) -> int:
    """Return the index behind a quoted part; a doubled quote belongs to it."""
    mark, index = text[start], start + 1
    while index < len(text):
        if text[index] == mark:
            if text[index + 1 : index + 2] != mark:
                return index + 1
            index += 1
        index += 1
    return index
