"""How large a statement may be: bounds for what DuckDB plans without listening to an interrupt.

Measured on DuckDB 1.5.5: twenty nested NULLIF or macros that repeat their argument bind for minutes,
a join of 200 tables is ordered in 15 s, 30,000 terms of AND in 11 s; within these bounds it takes
less than a second.
"""

from __future__ import annotations

import re
from typing import Any

from chronoduck.engine.guard.rules import refuse

__all__ = [
    "IN_REPEATS",
    "LIST_FUNCTIONS",
    "MAX_COLUMNS",
    "MAX_COPIES",
    "MAX_DEPTH",
    "MAX_DISTINCT",
    "MAX_JOINS",
    "MAX_LEVELS",
    "MAX_SET_OPERATIONS",
    "MAX_STARS",
    "MAX_STATEMENT_BYTES",
    "MAX_TABLES",
    "MAX_TERMS",
    "MAX_WIDTH",
    "MAX_WINDOWS",
    "REPEATING",
    "arguments_of",
    "has_named_arguments",
    "literal_growth",
    "literal_text",
]

MAX_STATEMENT_BYTES = 100_000
MAX_DEPTH = 10
"""Nesting of what repeats its operands while it is bound: ``->``, BETWEEN, NULLIF, subqueries, macros."""
MAX_LEVELS = 250
"""Nesting of all expressions, chains like ``a || b || c`` included: binding is cubic in it."""
MAX_COPIES = 15_000
"""Expressions that are bound beyond those that are written: macros, views, repeated operands and
aliases written out. DuckDB binds 10,000 of them in 0.3-1 s."""
REPEATING = {"LAMBDA": 2, "BETWEEN": 3, "SUBQUERY": 2}
"""Classes of expressions to how often, measured, an operand is bound."""
IN_REPEATS = 3
"""How often the value before IN is bound; the list behind it is bound once."""
MAX_TABLES = 100
MAX_TERMS = 1_000
"""Operands of AND and OR."""
MAX_COLUMNS = 5_000
"""Expressions in SELECT lists, and columns that a PIVOT makes."""
MAX_STARS = 50
MAX_WIDTH = 1_024
"""How often stars inside each other may repeat the columns of a table."""
MAX_SET_OPERATIONS = 500
MAX_JOINS = 60
MAX_WINDOWS = 500
MAX_DISTINCT = 100
"""Aggregates over DISTINCT values: DuckDB 2.0 plans a thousand of them for minutes."""
_MAX_TEXT = 100_000
_MAX_LIST = 1_000_000

# Function to the position of the argument that says how large one value gets.
_TEXT_SIZES = {
    "repeat": 1,
    "lpad": 1,
    "rpad": 1,
    "to_base": 2,
    "bitstring": 1,
    "bar": 3,
    "overlay": 2,
}
_LIST_SIZES = {"list_resize": 1, "array_resize": 1, "equi_width_bins": 2}
_SERIES = frozenset({"range", "generate_series"})
_FORMATS = frozenset({"printf", "format"})
_WIDE_FORMAT = re.compile(r"\d{5,}")
_GROWING = frozenset(
    ("*", "**", "^", "<<", "pow", "power", "exp", "factorial", "multiply", "gamma")
)
LIST_FUNCTIONS = frozenset(
    "list_transform array_transform list_apply array_apply apply list_filter array_filter filter "
    "list_reduce array_reduce reduce invoke".split()
)
"""They run a lambda once for every element."""


def arguments_of(node: dict[str, Any]) -> list[Any]:
    """Return a call's arguments in the words of either version."""
    if "arguments" in node:
        return [argument.get("expression", argument) for argument in node["arguments"]]
    children = node.get("children")
    return children if isinstance(children, list) else []


def has_named_arguments(node: dict[str, Any]) -> bool:
    """Whether arguments are given by name: DuckDB 2.0 then takes them in any order."""
    return any(
        argument.get("name") or argument.get("alias")
        for argument in (node.get("arguments") or node.get("children") or ())
    )


def literal_text(node: Any) -> str | None:
    """Return a constant's text, None of anything else."""
    if not isinstance(node, dict) or node.get("class") != "CONSTANT":
        return None
    value = node.get("literal") or node.get("value") or {}
    text = value.get("text", value.get("value"))
    return None if text is None or isinstance(text, dict | list) else str(text)


def literal_growth(name: str, node: dict[str, Any], factor: int, trusts_parameters: bool) -> int:
    """Return ``factor`` times the size that a call's literal asks for, 1 of a call that asks none.

    ``factor``: how many such values the calls around it make. ``trusts_parameters``: a size may be
    a parameter.

    Raises:
        StatementRefusedError: it is too large, or a constant that is computed.
    """
    arguments, is_named = arguments_of(node), has_named_arguments(node)
    if name in _FORMATS:
        formats = arguments if is_named else arguments[:1]
        if any(_WIDE_FORMAT.search(literal_text(each) or "") for each in formats):
            refuse("literal-size", f"{name}() may not pad to more than 9,999 characters")
        return factor
    if name in _SERIES:
        return factor * _checked(name, arguments, _MAX_LIST, factor, trusts_parameters)
    position = _TEXT_SIZES.get(name)
    limit = _MAX_TEXT
    if position is None:
        position = _LIST_SIZES.get(name)
        limit = _MAX_LIST
        if position is None:
            return factor
    sizes = arguments if is_named else arguments[position : position + 1]
    return factor * _checked(name, sizes, limit, factor, trusts_parameters)


def _checked(
    name: str, arguments: list[Any], limit: int, factor: int, trusts_parameters: bool
) -> int:
    size = 1.0
    for argument in arguments:
        numbers, is_computed, has_parameter = _numbers_in(argument)
        if has_parameter and not trusts_parameters:
            refuse("literal-size", f"the size given to {name}() is a parameter")
        size = max([size, *numbers])
        if is_computed:
            refuse("literal-size", f"the size given to {name}() is computed from constants")
    if size * factor > limit:
        refuse("literal-size", f"{name}() would make a value of {size * factor:,} elements")
    return int(size)


def _numbers_in(argument: Any) -> tuple[list[float], bool, bool]:
    """Return an expression's constants, whether it multiplies only those, whether it has parameters."""
    numbers: list[float] = []
    grows = has_column = has_parameter = False
    stack = [argument]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            if node.get("class") == "COLUMN_REF":
                has_column = True
            elif node.get("function_name") in _GROWING:
                grows = True
            elif node.get("class") == "PARAMETER":
                has_parameter = True
            text = literal_text(node)
            if text is None:
                stack.extend(value for value in node.values() if isinstance(value, dict | list))
            else:
                try:
                    number = abs(float(text.replace("_", "")))
                except ValueError:
                    continue
                numbers.append(min(number, 1e300) if number == number else 0.0)
    return numbers, grows and not has_column, has_parameter
