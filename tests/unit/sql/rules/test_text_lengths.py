"""Texts that nothing bounds, where DuckDB is quadratic in one text and deaf: refused with a way out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.errors import StatementRefusedError
from chronoduck.principals import Role
from chronoduck.sql.guard import Guard
from chronoduck.sql.rules.text_lengths import longest
from chronoduck.sql.statements import StatementParser

IS_VERSION_1 = duckdb.__version__.startswith("1.")
LEAVES = st.sampled_from(["x", "y", "'abc'", "'7'", "NULL", "n::VARCHAR", "d::VARCHAR", "x::JSON"])
"""x and y are texts of 50,000 characters, n and d numbers."""


def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(inner, inner)
    sizes = st.sampled_from(["0", "3", "900", "-1", "n", "'5'", "1e3"])
    return st.one_of(
        st.tuples(inner, sizes).map(lambda pair: f"left({pair[0]}, {pair[1]})"),
        st.tuples(inner, sizes).map(lambda pair: f"right({pair[0]}, {pair[1]})"),
        st.tuples(inner, sizes).map(lambda pair: f"substr({pair[0]}, 1, {pair[1]})"),
        st.tuples(inner, sizes).map(
            lambda pair: f"CASE WHEN strlen(x) <= {pair[1]} THEN {pair[0]} END"
        ),
        st.tuples(inner, sizes).map(
            lambda pair: f"CASE WHEN strlen(y) < {pair[1]} THEN y ELSE {pair[0]} END"
        ),
        two.map(lambda pair: f"({pair[0]} || {pair[1]})"),
        two.map(lambda pair: f"concat({pair[0]}, {pair[1]})"),
        two.map(lambda pair: f"coalesce({pair[0]}, {pair[1]})"),
        two.map(lambda pair: f"replace({pair[0]}, 'a', {pair[1]})"),
        inner.map(lambda one: f"upper({one})"),
        inner.map(lambda one: f"trim({one})"),
        inner.map(lambda one: f"reverse({one})"),
        inner.map(lambda one: f"({one})::VARCHAR"),
        inner.map(lambda one: f"length({one})::VARCHAR"),
        inner.map(lambda one: f"list_value({one}, {one})::VARCHAR"),
        inner.map(lambda one: f"TRY_CAST({one} AS DOUBLE)::VARCHAR"),
    )


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT repeat('a/', 25000) AS x, repeat('é7', 25000) AS y, "
            "50000 AS n, 1.5e300::DOUBLE AS d"
        )
        yield connection


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with duckdb.connect() as database:
        database.execute("CREATE TABLE t (x VARCHAR, y VARCHAR, n BIGINT, l VARCHAR[], j JSON)")
        parser = StatementParser()
        with closing(Guard(parser, LiveDefinitions(database.cursor))) as opened:
            yield opened
        parser.close()


@given(expression=st.recursive(LEAVES, grow, max_leaves=6))
def test_no_text_is_longer_than_its_bound(
    database: duckdb.DuckDBPyConnection, expression: str
) -> None:
    tree = database.execute("SELECT json_serialize_sql(?)", [f"SELECT {expression}"]).fetchone()
    assert tree is not None
    node = json.loads(tree[0])["statements"][0]["node"]["select_list"][0]
    try:
        row = database.execute(f"SELECT length(({expression})::VARCHAR) FROM t").fetchone()
    except duckdb.Error:
        return
    assert row is not None
    assert (row[0] or 0) <= longest(node), expression


REFUSED = [
    "SELECT parse_path(x) FROM t",
    "SELECT parse_filename(x || 'a') FROM t",
    "SELECT x.parse_dirpath() FROM t",
    "SELECT parse_dirpath(string_agg(x, '/')) FROM t",
    "SELECT parse_dirpath(repeat('a/', 20000))",
    "SELECT parse_dirpath(?)",
    "SELECT parse_path(left(x, -1)) FROM t",
    "SELECT parse_path(left(x, n)) FROM t",
    "SELECT parse_path(CASE WHEN length(l) < 9 THEN l::VARCHAR END) FROM t",
    "SELECT TRY_CAST(x AS BIGNUM) FROM t",
    "SELECT max(x)::BIGNUM FROM t",
    "SELECT TRY_CAST(string_agg('7', '') AS BIGNUM) FROM t",
    "SELECT l::BIGNUM[] FROM t",
    "SELECT (?)::BIGNUM",
    "SELECT CASE WHEN strlen(y) < 9 THEN x END::BIGNUM FROM t",
    "SELECT list_transform(l, lambda v: v::BIGNUM) FROM t",
]
PASSED = [
    "SELECT parse_path('/a/b.csv'), parse_filename('https://example.org/a')",
    "SELECT parse_filename(left(x, 10000)), parse_path(substr(x, 5, 300)) FROM t",
    "SELECT parse_dirpath(CASE WHEN strlen(x) <= 5000 THEN x END) FROM t",
    "SELECT '123456789012345678901234567890123456789012'::BIGNUM",
    "SELECT n::HUGEINT::BIGNUM, (sum(n))::BIGNUM, count(*)::BIGNUM FROM t GROUP BY n",
    "SELECT left(x, 1000)::BIGNUM FROM t",
    "SELECT ['1', '2']::BIGNUM[]",
    "SELECT list_transform(l, lambda v: left(v, 40)::BIGNUM) FROM t",
]
MERGES = [
    "SELECT json_merge_patch(j, '{\"a\": 1}') FROM t",
    (
        "SELECT json_merge_patch(CASE WHEN strlen(j) <= 10000 THEN j END, "
        "CASE WHEN strlen(x) < 5000 THEN x END) FROM t"
    ),
]


@pytest.mark.parametrize("sql", REFUSED)
def test_a_text_that_nothing_bounds_is_refused_with_a_way_out(guard: Guard, sql: str) -> None:
    with pytest.raises(StatementRefusedError) as caught:
        guard.judge(sql, Role.ANALYST)
    assert caught.value.rule == "literal-size"


@pytest.mark.parametrize("sql", PASSED)
def test_a_bounded_text_passes(guard: Guard, sql: str) -> None:
    guard.judge(sql, Role.ANALYST)


@pytest.mark.skipif(IS_VERSION_1, reason="json_merge_patch only takes short literals there")
@pytest.mark.parametrize("sql", MERGES)
def test_a_short_patch_may_be_merged_into_any_document(guard: Guard, sql: str) -> None:
    guard.judge(sql, Role.ANALYST)


@pytest.mark.skipif(IS_VERSION_1, reason="json_merge_patch only takes short literals there")
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT json_merge_patch(j, x) FROM t",
        "SELECT json_deep_merge(j, j) FROM t",
        "SELECT json_merge_patch_diff(j, ?) FROM t",
        "SELECT json_merge_patch(l, l) FROM t",
    ],
)
def test_two_documents_that_nothing_bounds_are_not_merged(guard: Guard, sql: str) -> None:
    with pytest.raises(StatementRefusedError) as caught:
        guard.judge(sql, Role.ANALYST)
    assert "strlen(x)" in str(caught.value.hint)
