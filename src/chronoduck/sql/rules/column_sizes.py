"""Between which numbers one lies that a column gives, as far as the expression itself bounds it.

``lpad(x, n, 'y')`` over an ``n`` of two thousand million takes gigabytes outside of the engine's memory
limit, and listens to no interrupt for 25 seconds (measured on 2.0.1; ``repeat`` ends after 7 s, and
people draw bars with it).
"""

from __future__ import annotations

import math
from typing import Any

from chronoduck.sql.rules.bounds import arguments_of, literal_text

__all__ = ["has_column", "largest"]

_LENGTHS = frozenset(
    "length len strlen char_length character_length array_length octet_length bit_length "
    "length_grapheme instr strpos position list_position".split()
)
_LENGTH = (0.0, 49_000.0)
"""A length counts as this: a column's value is as long as somebody stored it. Twice that may be asked
for, and no multiple: a value of 20 MB and a factor of 99 are 2 GB again."""
_PARTS = frozenset("month dayofweek weekday isodow dayofyear week quarter".split())
_PART = (-366.0, 366.0)
_ROUNDING = frozenset("floor ceil ceiling trunc".split())
_ONE_OF = frozenset("coalesce ifnull".split())
_ANY = (-math.inf, math.inf)
_DEPTH = 100
Range = tuple[float, float]


def has_column(node: Any) -> bool:
    """Whether an expression holds a column, a subquery or a parameter."""
    stack = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack.extend(part)
        elif isinstance(part, dict):
            if part.get("class") in ("COLUMN_REF", "SUBQUERY", "PARAMETER"):
                return True
            stack.extend(part.values())
    return False


def largest(node: Any) -> float:
    """Return what the number cannot exceed; infinity: nothing bounds it."""
    return _range(node, 0)[1]


def _range(node: Any, depth: int) -> Range:
    if not isinstance(node, dict) or depth > _DEPTH:
        return _ANY
    kind, name = node.get("class"), str(node.get("function_name", "")).lower()
    if kind == "CONSTANT":
        return _number(node)
    if kind == "PARAMETER":
        return 0.0, 0.0  # whose parameters are not trusted may give no size at all
    if name in _LENGTHS:
        return _LENGTH if all(map(_is_stored, arguments_of(node))) else _ANY
    if name in _PARTS:
        return _PART
    parts = [_range(part, depth + 1) for part in _operands(node)]
    if not parts:
        return _ANY
    if kind == "CAST" or name in _ROUNDING:
        return parts[0][0] - 1, parts[0][1] + 1
    if kind == "CASE" or name in _ONE_OF or "COALESCE" in str(node.get("type")):
        return min(low for low, _ in parts), max(high for _, high in parts)
    if name in ("least", "greatest"):
        return _extreme(name, parts, [literal_text(part) for part in arguments_of(node)])
    if name == "abs":
        return 0.0, max(map(abs, parts[0]))
    if name == "-" and len(parts) == 1:
        return -parts[0][1], -parts[0][0]
    return _combined(name, parts[0], parts[1]) if len(parts) == 2 else _ANY


def _combined(operator: str, left: Range, right: Range) -> Range:
    if operator == "+":
        return left[0] + right[0], left[1] + right[1]
    if operator == "-":
        return left[0] - right[1], left[1] - right[0]
    if operator == "*":
        products = [0.0 if 0.0 in (a, b) else a * b for a in left for b in right]
        return min(products), max(products)
    if operator in ("%", "mod", "fmod"):  # of the sign of what is divided
        most = max(map(abs, right))
        return max(min(left[0], 0.0), -most), min(max(left[1], 0.0), most)
    if operator in ("/", "//") and right[0] >= 1:
        return min(left[0], 0.0), max(left[1], 0.0)
    return _ANY


def _extreme(name: str, parts: list[Range], texts: list[str | None]) -> Range:
    """Return the range of least() or greatest(): they pass over NULL, so only literals bound them."""
    low, high = min(low for low, _ in parts), max(high for _, high in parts)
    literals = [part for part, text in zip(parts, texts, strict=True) if text is not None]
    if name == "least":
        return low, min([high, *(each[1] for each in literals)])
    return max([low, *(each[0] for each in literals)]), high


def _operands(node: dict[str, Any]) -> list[Any]:
    """Return what the number is made of."""
    if node.get("class") == "CAST":
        return [node.get("child")]
    if node.get("class") == "CASE":
        checks = node.get("case_checks") or ()
        return [*(check.get("then_expr") for check in checks), node.get("else_expr")]
    return arguments_of(node)


def _is_stored(node: Any) -> bool:
    """Whether a value is a literal or a column's, and not made longer by a function."""
    while isinstance(node, dict) and node.get("class") == "CAST":
        node = node.get("child")
    return isinstance(node, dict) and node.get("class") in ("CONSTANT", "COLUMN_REF")


def _number(node: dict[str, Any]) -> Range:
    """Return a literal as a range; NULL makes no size at all."""
    text = literal_text(node)
    if text is None:
        return 0.0, 0.0
    try:
        number = float(text.replace("_", ""))
    except ValueError:  # '0x77' is a number for DuckDB; ' ' is none, and no size
        return _ANY if any(character.isdigit() for character in text) else (0.0, 0.0)
    if number != number:
        return _ANY
    kind = (node.get("value") or {}).get("type") or {}
    if isinstance(kind, dict) and kind.get("id") == "DECIMAL":
        return min(number, 0.0), max(number, 0.0)  # DuckDB 1.5 tells 0.5 as 5 tenths
    return number, number
