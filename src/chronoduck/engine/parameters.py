"""A statement's parameters as they are bound: lists and objects arrive as they were sent.

DuckDB's client gives every list one type for all its elements, and every dict the type of a STRUCT or
MAP: ``[1, "x", true]`` becomes three texts, ``[{"a": 1}, {"b": 2}]`` gets NULLs, and an object with the
two keys ``key`` and ``value`` becomes a MAP. What has a type that keeps it stays a LIST or STRUCT, so
that ``unnest($p)`` and ``x IN $p`` work; everything else is bound as JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
from duckdb.sqltypes import DuckDBPyType

from chronoduck.errors import InvalidRequestError

__all__ = ["Params", "bound"]

Params = Sequence[Any] | Mapping[str, Any] | None

_SCALARS = frozenset({bool, int, float, str, type(None)})
_CONTAINERS = frozenset({list, dict})
_JSON = DuckDBPyType("JSON")
_LARGEST = 2**127 - 1
"""Integers beyond, in a list with others, have no common type that is exact."""
_EXACT_IN_DOUBLE = 2**53
_AS_MAP = {"key", "value"}

_Kind = str | tuple[Any, ...] | None
"""A type's name, ``("list", element)``, or ``("struct", (name, kind), ...)``; None: any, of a null."""


class _NoCommonTypeError(Exception):
    """No type of DuckDB's keeps the values as they are."""


def bound(params: Params) -> Params:
    """Return the parameters for DuckDB's client; the same object when nothing has to be changed.

    Values that JSON does not know (dates, decimals, bytes) and what holds them are left as they are.

    Raises:
        InvalidRequestError: a list or an object holds a number that JSON has no form for.
    """
    if not params:
        return params
    values = params.values() if isinstance(params, Mapping) else params
    if not any(type(value) in _CONTAINERS for value in values):
        return params
    if isinstance(params, Mapping):
        return {name: _bound(value) for name, value in params.items()}
    return [_bound(value) for value in params]


def _bound(value: Any) -> Any:
    if type(value) not in _CONTAINERS or not _is_json(value):
        return value
    try:
        _kind(value)
    except _NoCommonTypeError:
        return duckdb.Value(json.dumps(value, ensure_ascii=False, separators=(",", ":")), _JSON)
    return value


def _is_json(value: Any) -> bool:
    """Whether it is made of nothing but what JSON knows."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        kind = type(each)
        if kind is list:
            waiting.extend(each)
        elif kind is dict:
            if not all(type(name) is str for name in each):
                return False
            waiting.extend(each.values())
        elif kind not in _SCALARS:
            return False
        elif kind is float and not math.isfinite(each):
            raise InvalidRequestError(
                f"a list or object among the parameters holds {each}, which is no number of JSON",
                hint="Send it as a text, or as a parameter of its own.",
            )
    return True


def _kind(value: Any) -> _Kind:
    """Return the type that keeps a value.

    Raises:
        _NoCommonTypeError: none does.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        if abs(value) > _LARGEST:
            raise _NoCommonTypeError
        return "small" if abs(value) <= _EXACT_IN_DOUBLE else "integer"
    if isinstance(value, float):
        return "double"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        element: _Kind = None
        for each in value:
            element = _common(element, _kind(each))
        return ("list", element)
    names = {name.casefold() for name in value}
    if not value or "" in names or len(names) < len(value) or value.keys() == _AS_MAP:
        raise _NoCommonTypeError
    return ("struct", *((name, _kind(each)) for name, each in value.items()))


def _common(one: _Kind, other: _Kind) -> _Kind:
    """Return the type of a list that holds values of both.

    Raises:
        _NoCommonTypeError: one of the two would be changed.
    """
    if one is None or one == other:
        return other
    if other is None:
        return one
    if isinstance(one, str) and isinstance(other, str):
        if {one, other} == {"small", "integer"}:
            return "integer"
        if {one, other} == {"small", "double"}:
            return "double"
        raise _NoCommonTypeError
    if isinstance(one, str) or isinstance(other, str) or one[0] != other[0]:
        raise _NoCommonTypeError
    if one[0] == "list":
        return ("list", _common(one[1], other[1]))
    if [name for name, _ in one[1:]] != [name for name, _ in other[1:]]:
        raise _NoCommonTypeError
    pairs = zip(one[1:], other[1:], strict=True)
    return ("struct", *((name, _common(left, right)) for (name, left), (_, right) in pairs))
