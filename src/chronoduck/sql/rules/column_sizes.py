"""Between which numbers one lies that a column gives, as far as the expression itself bounds it.

``lpad(x, n, 'y')`` over an ``n`` of two thousand million takes gigabytes outside of the engine's memory
limit, and listens to no interrupt for 25 seconds (measured on 2.0.1; ``repeat`` ends after 7 s, and
people draw bars with it).
"""

from __future__ import annotations

import math
from typing import Any

from chronoduck.sql.rules.bounds import (
    arguments_of,
    has_named_arguments,
    has_path,
    literal_text,
    nodes_in,
)
from chronoduck.sql.rules.value_types import judge_cast

__all__ = ["has_column", "has_nested_cast", "largest"]

_LENGTHS = frozenset(
    "length len strlen char_length character_length octet_length bit_length length_grapheme".split()
)
_LENGTH = (0.0, 49_000.0)
"""A length counts as this: a column's value is as long as somebody stored it. Twice that may be asked
for, and no multiple: a value of 20 MB and a factor of 99 are 2 GB again."""
_INTEGERS = frozenset(
    "integer int int4 signed bigint int8 long smallint int2 short tinyint int1 hugeint uinteger ubigint "
    "usmallint utinyint".split()
)
_OTHER_NUMBERS = frozenset("bit bitstring blob varchar double float real decimal".split())
_VARIABLE = frozenset({"COLUMN_REF", "SUBQUERY", "PARAMETER"})
_DEPTH = 100
Range = tuple[float, float]
_ANY = (-math.inf, math.inf)


def has_column(node: Any) -> bool:
    """Whether an expression holds a column, a subquery or a parameter."""
    return any(part.get("class") in _VARIABLE for part in nodes_in(node))


def has_nested_cast(node: Any) -> bool:
    """Whether a cast stands right in a cast: the one in the middle may make another number of it."""
    casts = [part.get("child") for part in nodes_in(node) if _is_cast(part)]
    return any(_is_cast(child) and not _names_integer(child) for child in casts)


def largest(node: Any) -> float:
    """Return what the number cannot exceed; infinity: nothing bounds it."""
    return _range(node, 0)[1]


def _range(node: Any, depth: int) -> Range:
    """Return the lowest and the highest value; what DuckDB may read in another way has no bound."""
    if not isinstance(node, dict) or depth > _DEPTH:
        return _ANY
    kind = node.get("class")
    if kind == "CONSTANT":
        return _number(node)
    if kind == "PARAMETER":
        return 0.0, 0.0  # whose parameters are not trusted may give no size at all
    if kind == "CASE":
        checks = node.get("case_checks") or ()
        found = [_range(check.get("then_expr"), depth + 1) for check in checks]
        found.append(_range(node.get("else_expr"), depth + 1))
        return min(low for low, _ in found), max(high for _, high in found)
    if _is_cast(node):
        child = node.get("child")
        low, high = _range(child, depth + 1) if _is_integer(child, 0) else _ANY
        return (low - 1, high + 1) if _names_integer(node) else _ANY
    if kind != "FUNCTION" or has_named_arguments(node) or has_path(node):
        return _ANY  # a.f(b) may be f(a, b)
    return _called(str(node.get("function_name", "")).lower(), arguments_of(node), depth)


def _called(name: str, arguments: list[Any], depth: int) -> Range:
    if name in _LENGTHS and len(arguments) == 1:
        return _LENGTH if _is_stored(arguments[0]) else _ANY
    parts = [_range(part, depth + 1) for part in arguments]
    if name == "least":  # it passes over NULL, so only literals bound it
        highs = [part[1] for part, each in zip(parts, arguments, strict=True) if _is_literal(each)]
        return min(low for low, _ in parts), min(highs, default=math.inf)
    if name == "-" and len(parts) == 1:
        return -parts[0][1], -parts[0][0]
    if len(parts) != 2:
        return _ANY
    left, right = parts
    if name == "+":
        return left[0] + right[0], left[1] + right[1]
    if name == "-":
        return left[0] - right[1], left[1] - right[0]
    if name == "*":
        products = [0.0 if 0.0 in (a, b) else a * b for a in left for b in right]
        return min(products), max(products)
    if name == "%" and math.isfinite(right[1]) and _is_literal(arguments[1]):
        return -right[1], right[1]
    return _ANY


def _is_integer(node: Any, depth: int) -> bool:
    """Whether a value is a number by the expression itself: least() of a text is a text."""
    if not isinstance(node, dict) or depth > _DEPTH:
        return False
    if node.get("class") in ("CONSTANT", "PARAMETER"):
        return _is_literal(node) or node.get("class") == "PARAMETER"
    if _is_cast(node):
        return _names_integer(node)
    if has_path(node) or node.get("class") != "FUNCTION":
        return False
    name = str(node.get("function_name", "")).lower()
    arguments = arguments_of(node)
    return name in _LENGTHS or (
        name in ("+", "-", "*", "%", "least")
        and all(_is_integer(part, depth + 1) for part in arguments)
    )


def _is_cast(node: Any) -> bool:
    return isinstance(node, dict) and node.get("class") == "CAST"


def _names_integer(node: Any) -> bool:
    """Whether a cast is to a type of whole numbers, and to nothing else."""
    types = judge_cast(node) - {""}
    return bool(types & _INTEGERS) and not types & _OTHER_NUMBERS


def _is_literal(node: Any) -> bool:
    """Whether it is a number that is written down, and no text in quotes."""
    if not isinstance(node, dict) or node.get("class") != "CONSTANT":
        return False
    literal, value = node.get("literal") or {}, node.get("value") or {}
    kind = literal.get("kind") or (value.get("type") or {}).get("id")
    return literal_text(node) is not None and kind not in ("STRING", "VARCHAR")


def _is_stored(node: Any) -> bool:
    """Whether a value is a literal or a column's, and not made longer by a function."""
    return isinstance(node, dict) and node.get("class") in ("CONSTANT", "COLUMN_REF")


def _number(node: dict[str, Any]) -> Range:
    """Return a literal as a range; NULL makes no size at all, and neither does a text without digits."""
    text = literal_text(node)
    if text is None:
        return 0.0, 0.0
    if not _is_literal(node):
        return _ANY if any(character.isdigit() for character in text) else (0.0, 0.0)
    try:
        number = float(text.replace("_", ""))
    except ValueError:
        return _ANY
    if number != number:
        return _ANY
    kind = (node.get("value") or {}).get("type") or {}
    if isinstance(kind, dict) and kind.get("id") == "DECIMAL":
        return min(number, 0.0), max(number, 0.0)  # DuckDB 1.5 tells 0.5 as 5 tenths
    return number, number
