"""Parameters made of JSON arrive as they were sent, and typed lists stay lists."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chronoduck.engine.parameters import bound
from chronoduck.errors import InvalidRequestError

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["", "key", "value", "a", "A", "1", "null", "é\"'\\", "a\0b"]
)
_NUMBERS = st.integers(-(2**140), 2**140) | st.sampled_from(
    [0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 2**127, -(2**127)]
)
_SCALARS = (
    st.none() | st.booleans() | _TEXTS | _NUMBERS | st.floats(allow_nan=False, allow_infinity=False)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)
_CONTAINERS = _VALUES.filter(lambda value: isinstance(value, list | dict))


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    opened = duckdb.connect(config={"enable_external_access": "false"})
    opened.execute("CREATE TABLE kept (j JSON)")
    yield opened
    opened.close()


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; a number is one, however it is written."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@settings(max_examples=150)
@given(_CONTAINERS)
@example([1, "x", True])
@example({"key": ["a"], "value": [1]})
@example([{"a": 1}, {"b": 2}])
@example([1, [2]])
@example({"a": [1, "b", {"c": None}]})
@example([True, 1])
@example([2**60, 0.5])
@example({})
@example([{}, {"a": 1}])
@example({"": 1})
@example({"a": 1, "A": 2})
@example([{"a": 1, "b": 2}, {"b": 3, "a": 4}])
@example([10**40, 1])
@example([-1, 2**127])
def test_json_arrives_as_it_was_sent(connection: duckdb.DuckDBPyConnection, value: Any) -> None:
    for sql in ("SELECT $p::JSON", "INSERT INTO kept VALUES ($p) RETURNING j"):
        text = connection.execute(sql, bound({"p": value})).fetchall()[0][0]
        assert same(json.loads(text), value), text
    text = connection.execute("SELECT ?::JSON", bound([value])).fetchall()[0][0]
    assert same(json.loads(text), value), text


@settings(max_examples=60)
@given(
    st.lists(st.integers(-(2**127), 2**127 - 1) | st.none(), min_size=1)
    | st.lists(_TEXTS | st.none(), min_size=1)
    | st.lists(st.booleans() | st.none(), min_size=1)
    | st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), min_size=1)
)
def test_lists_of_one_kind_stay_lists(
    connection: duckdb.DuckDBPyConnection, value: list[Any]
) -> None:
    assert bound([value]) == [value]
    rows = connection.execute("SELECT unnest($p)", bound({"p": value})).fetchall()
    assert [row[0] for row in rows] == value


def test_what_json_does_not_know_is_left_alone() -> None:
    given = {"a": [1, b"x"], "b": {1: 2}, "c": math.inf, "d": (1, "x")}
    assert bound(given) == given


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_are_none_are_refused_inside_of_json(number: float) -> None:
    with pytest.raises(InvalidRequestError, match="no number of JSON"):
        bound([[1, "x", number]])
