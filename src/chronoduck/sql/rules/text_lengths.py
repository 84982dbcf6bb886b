"""How long a text can be, as far as the expression itself bounds it; and functions that need to know.

They are quadratic in one value and look at no interrupt meanwhile, nor before they have done 2,048 of
them. Measured on DuckDB 2.0.1: 2 MB of ``a/`` take ``parse_path`` 10 s, two JSON objects of 300 KB take
``json_merge_patch`` 1 s, 1 MB of digits as BIGNUM 4 s.
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
from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.rules.value_types import judge_cast

__all__ = ["judge_bignum_text", "judge_text_lengths", "longest"]

_PATHS = frozenset({"parse_path", "parse_dirpath", "parse_filename"})
_MERGES = frozenset({"json_merge_patch", "json_merge_patch_diff", "json_deep_merge"})
_MAX_LENGTH = 10_000
"""A value of so many characters takes a millisecond at most."""
_SHORT = 1_000
"""A JSON text of any length and short ones are merged in time that grows with the long one."""
_MAX_DIGITS = 1_000
_NUMBER = 400.0
"""Characters of the longest number that is no BIGNUM: a DOUBLE's."""
_NUMERIC = frozenset(
    "integer int int4 signed bigint int8 long smallint int2 short tinyint int1 hugeint uinteger ubigint "
    "usmallint utinyint uhugeint double float8 float float4 real decimal numeric dec boolean bool".split()
)
_BIGNUMS = frozenset({"bignum", "varint"})
_TEXTS = frozenset({"varchar", "text", "string", "char", "bpchar", "json"})
_UNKNOWN = frozenset({"COLUMN_REF", "SUBQUERY", "PARAMETER", "STAR"})
_NUMBERS = frozenset(
    "- * / // % abs count count_star sum avg round floor ceil length len strlen".split()
)
_AS_LONG = frozenset({"lower", "upper", "lcase", "ucase", "trim", "ltrim", "rtrim", "reverse"})
_CUT = frozenset({"left", "right"})
_PARTS = frozenset({"substr", "substring"})
_BELOW = frozenset({"COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO"})
_DEPTH = 50


def longest(node: Any, *, trusts_parameters: bool = False) -> float:
    """Return how many characters a text has at most; infinity: nothing bounds it."""
    return _Lengths(trusts_parameters).of(node, 0)


def judge_text_lengths(name: str, arguments: list[Any], *, trusts_parameters: bool) -> None:
    """Refuse a call of a quadratic function over texts that nothing bounds.

    Raises:
        StatementRefusedError: rule ``literal-size``.
    """
    if name not in _PATHS and name not in _MERGES:
        return
    lengths = sorted(longest(each, trusts_parameters=trusts_parameters) for each in arguments)
    if not lengths or lengths[-1] <= _MAX_LENGTH:
        return
    if name in _MERGES and sum(lengths[:-1]) <= _SHORT:
        return
    if name in _MERGES:
        hint = (
            f"Bound it: CASE WHEN strlen(x) <= {_MAX_LENGTH} THEN x END. One text of any length may "
            f"be merged with literals of at most {_SHORT:,} characters."
        )
    else:
        hint = f"Write {name}(left(x, {_MAX_LENGTH})), or split_part(x, '/', -1) for the last part."
    refuse("literal-size", f"nothing bounds the text given to {name}()", hint)


def judge_bignum_text(child: Any, types: frozenset[str], *, trusts_parameters: bool) -> None:
    """Refuse a cast to BIGNUM of a text that nothing bounds; literals have a rule of their own.

    ``types``: of the cast; of what is inside a list or struct no length is known.

    Raises:
        StatementRefusedError: rule ``literal-size``.
    """
    is_nested = bool(types - _BIGNUMS - {""})
    is_bounded = (
        not any(part.get("class") in _UNKNOWN for part in nodes_in(child))
        if is_nested
        else longest(child, trusts_parameters=trusts_parameters) <= _MAX_DIGITS
    )
    if not is_bounded and literal_text(child) is None:
        refuse(
            "literal-size",
            "nothing bounds the text that is cast to BIGNUM",
            f"Write left(x, {_MAX_DIGITS})::BIGNUM of a text, x::HUGEINT::BIGNUM of a number, and cast "
            "the elements of a list one by one.",
        )


class _Lengths:
    """Lengths within one expression."""

    def __init__(self, trusts_parameters: bool) -> None:
        self._parameter = 0.0 if trusts_parameters else math.inf

    def of(self, node: Any, depth: int) -> float:
        if not isinstance(node, dict) or depth > _DEPTH:
            return math.inf
        kind = node.get("class")
        if kind == "CONSTANT":
            return float(len(literal_text(node) or ""))
        if kind == "PARAMETER":
            return self._parameter
        if kind == "CAST":
            if _names_number(node):
                return _NUMBER
            is_text = judge_cast(node) - {""} <= _TEXTS
            return self.of(node.get("child"), depth + 1) if is_text else math.inf
        if kind == "CASE":
            return self._case(node, depth + 1)
        if kind != "FUNCTION" or has_named_arguments(node) or has_path(node):
            return math.inf
        return self._called(
            str(node.get("function_name", "")).lower(), arguments_of(node), depth + 1
        )

    def _case(self, node: dict[str, Any], depth: int) -> float:
        """Each value counts as what its own check says of it: CASE WHEN strlen(x) < 9 THEN x END."""
        lengths = [self.of(node.get("else_expr"), depth)]
        for check in node.get("case_checks") or ():
            value = check.get("then_expr")
            lengths.append(min(self.of(value, depth), _checked(check.get("when_expr"), value)))
        return max(lengths)

    def _called(self, name: str, arguments: list[Any], depth: int) -> float:
        if name in _NUMBERS:
            return _NUMBER
        if name in _AS_LONG and arguments:
            return self.of(arguments[0], depth)
        if name in _CUT and len(arguments) == 2:
            return _whole_number(arguments[1])
        if name in _PARTS and len(arguments) == 3:
            return _whole_number(arguments[2])
        if name == "coalesce":
            return max((self.of(each, depth) for each in arguments), default=0.0)
        if name in ("||", "concat"):
            return sum(self.of(each, depth) for each in arguments)
        return math.inf


def _checked(condition: Any, value: Any) -> float:
    """Return what ``strlen(x) <= 9`` says of the column x; ``length`` may count elements."""
    if not isinstance(condition, dict) or condition.get("type") not in _BELOW:
        return math.inf
    call, most = condition.get("left"), condition.get("right")
    if not isinstance(call, dict) or call.get("function_name") != "strlen" or has_path(call):
        return math.inf
    arguments = arguments_of(call)
    column = _column(value)
    if column is None or len(arguments) != 1 or _column(arguments[0]) != column:
        return math.inf
    return _whole_number(most)


def _column(node: Any) -> tuple[str, ...] | None:
    if not isinstance(node, dict) or node.get("class") != "COLUMN_REF":
        return None
    return tuple(str(name).lower() for name in node.get("column_names") or ())


def _whole_number(node: Any) -> float:
    """Return a literal that is a number of characters, infinity for anything else."""
    text = literal_text(node)
    return float(text) if text is not None and text.isdecimal() and text.isascii() else math.inf


def _names_number(node: dict[str, Any]) -> bool:
    types = judge_cast(node) - {""}
    return bool(types) and types <= _NUMERIC
