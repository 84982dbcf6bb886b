"""How large a statement may be: bounds for what DuckDB plans without listening to an interrupt.

Measured on DuckDB 1.5.5: twenty nested NULLIF or macros that repeat their argument bind for minutes,
a join of 200 tables is ordered in 15 s, 30,000 terms of AND in 11 s; within these bounds it takes
less than a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = [
    "IN_REPEATS",
    "LIST_FUNCTIONS",
    "MAX_BIGNUM_DIGITS",
    "MAX_COLUMNS",
    "MAX_COPIES",
    "MAX_DEPTH",
    "MAX_DISTINCT",
    "MAX_GROUPING_SETS",
    "MAX_JOINS",
    "MAX_JSON_TEXT",
    "MAX_LEVELS",
    "MAX_LIST",
    "MAX_NATURAL_JOINS",
    "MAX_NESTED_VALUES",
    "MAX_PATTERN_STEPS",
    "MAX_SET_OPERATIONS",
    "MAX_STARS",
    "MAX_STATEMENT_BYTES",
    "MAX_TABLES",
    "MAX_TERMS",
    "MAX_TEXT",
    "MAX_UNITS",
    "MAX_USING_COLUMNS",
    "MAX_WIDTH",
    "MAX_WILDCARDS",
    "MAX_WINDOWS",
    "REPEATING",
    "arguments_of",
    "has_named_arguments",
    "has_path",
    "literal_text",
    "nodes_in",
    "numbers_in",
    "readings_of",
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
MAX_TEXT = 100_000
"""What one argument may ask for: repetitions, characters."""
MAX_LIST = 1_000_000
"""Elements that one argument may ask for."""
MAX_UNITS = 2_000_000
"""Characters and elements of one value, when calls stand inside each other."""
MAX_JSON_TEXT = 5_000
"""Characters of a text that functions make and that is read as JSON. DuckDB calls itself for each level:
100,000 end the process (``json_structure`` on 1.5.5), and ``json_pretty`` indents by it: 20,000 levels
are 1.6 GB, deaf to interrupts."""
MAX_BIGNUM_DIGITS = 10_000
"""DuckDB 1.5.5 reads and writes 99,000 of them in three seconds."""
MAX_PATTERN_STEPS = 100_000_000
"""Steps of a function that is quadratic or worse in texts that literals make: a second."""
MAX_WILDCARDS = 8
"""In a pattern that is matched by trying: GLOB, and LIKE with ``_``, on DuckDB 1.5."""
MAX_NESTED_VALUES = 50
"""Lists, structs and maps inside each other. DuckDB 1.5.5 ends with 100 nested maps."""
MAX_NATURAL_JOINS = 8
MAX_USING_COLUMNS = 300
MAX_GROUPING_SETS = 256
"""Each one is an aggregation of its own: 1,024 take 1 GB."""
_GROWING = frozenset(
    "* ** ^ << pow power exp factorial multiply gamma product sum epoch epoch_ms epoch_us epoch_ns "
    "hash txid_current md5_number md5_number_lower md5_number_upper || concat".split()
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


_RECEIVER = {"class": "COLUMN_REF", "type": "COLUMN_REF", "column_names": ["?"]}


def readings_of(node: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return a call as DuckDB may read it: ``a.f(x)`` is f of a schema a, or ``f(a, x)`` of a column."""
    if not has_path(node):
        return (node,)
    if node["function_name"] in LIST_FUNCTIONS and len(arguments_of(node)) > 1:
        return (node,)  # a list and a lambda: what DuckDB 1.5 makes of a list comprehension
    if "children" in node:
        return (node, {**node, "children": [_RECEIVER, *node["children"]]})
    arguments = [{"expression": _RECEIVER}, *node.get("arguments", ())]
    return (node, {**node, "arguments": arguments})


def has_path(node: dict[str, Any]) -> bool:
    """Whether a call names a schema, or is a method of a column: ``a.f(b)`` may be ``f(a, b)``."""
    path = (node.get("qualified_name") or {}).get("path") or ()
    return bool(node.get("schema") or node.get("catalog") or len(path) > 1)


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


def nodes_in(node: Any) -> Iterator[dict[str, Any]]:
    """Yield all nodes of an expression, in no order."""
    stack = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack.extend(part)
        elif isinstance(part, dict):
            yield part
            stack.extend(part.values())


def literals_in(node: Any) -> list[str]:
    """Return the texts of all constants in an expression."""
    return [text for part in nodes_in(node) if (text := literal_text(part)) is not None]


def numbers_in(argument: Any) -> tuple[list[float], bool, bool]:
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
