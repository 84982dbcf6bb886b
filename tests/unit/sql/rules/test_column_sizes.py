"""Sizes that columns give: bounded by the expression, or refused where DuckDB is deaf over them."""

# ruff: noqa: E501 - expressions, many a line

from __future__ import annotations

import json
import random
import re
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
from chronoduck.sql.rules.column_sizes import largest
from chronoduck.sql.statements import StatementParser

LEAVES = st.sampled_from(
    ["n", "m", "length(s)", "7", "100", "0.5", "NULL", "t9", "'1000'", "n::INTEGER", "t9::INTEGER"]
)
"""Columns hold integers far beyond every limit, NULL and negative ones; t9 texts of numbers."""


def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(inner, inner)
    return st.one_of(
        two.map(lambda pair: f"({pair[0]} + {pair[1]})"),
        two.map(lambda pair: f"({pair[0]} - {pair[1]})"),
        two.map(lambda pair: f"({pair[0]} * {pair[1]})"),
        two.map(lambda pair: f"({pair[0]} % {pair[1]})"),
        two.map(lambda pair: f"({pair[0]} / {pair[1]})"),
        two.map(lambda pair: f"least({pair[0]}, {pair[1]})"),
        two.map(lambda pair: f"greatest({pair[0]}, {pair[1]})"),
        two.map(lambda pair: f"coalesce({pair[0]}, {pair[1]})"),
        two.map(lambda pair: f"CASE WHEN n > 5 THEN {pair[0]} ELSE {pair[1]} END"),
        inner.map(lambda one: f"abs({one})"),
        inner.map(lambda one: f"(-{one})"),
        inner.map(lambda one: f"floor({one})"),
        inner.map(lambda one: f"({one})::DOUBLE"),
        inner.map(lambda one: f"({one})::INTEGER"),
        inner.map(lambda one: f"({one})::BIT"),
        inner.map(lambda one: f"({one})::BLOB"),
        st.sampled_from(["n", "m", "t9"]).flatmap(
            lambda name: inner.map(lambda one: f"{name}.least({one})")
        ),
    )


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with duckdb.connect() as database:
        database.execute("CREATE TABLE t (a INTEGER, b VARCHAR, ts TIMESTAMP)")
        parser = StatementParser()
        with closing(parser), closing(Guard(parser, LiveDefinitions(database.cursor))) as opened:
            yield opened


@pytest.fixture(scope="module")
def rows() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    connection.execute("CREATE TABLE t (n BIGINT, m BIGINT, s VARCHAR, t9 VARCHAR)")
    dice = random.Random(3)
    numbers = [0, 1, -1, 100_000, 2_000_000_000, -2_000_000_000, 3, None]
    for _ in range(60):
        connection.execute(
            "INSERT INTO t VALUES (?, ?, ?, ?)",
            [
                dice.choice(numbers),
                dice.choice(numbers),
                "x" * dice.randrange(1000),
                dice.choice(("0300000", "77", "-5")),
            ],
        )
    return connection


@given(text=st.recursive(LEAVES, grow, max_leaves=8))
def test_no_value_is_larger_than_its_bound(rows: duckdb.DuckDBPyConnection, text: str) -> None:
    told = rows.execute("SELECT json_serialize_sql($1)", [f"SELECT {text}"]).fetchone()
    assert told is not None
    bound = largest(json.loads(told[0])["statements"][0]["node"]["select_list"][0])
    try:
        found = rows.execute(
            f"SELECT max(v) FROM (SELECT TRY_CAST(({text}) AS DOUBLE) AS v FROM t) WHERE isfinite(v)"
        ).fetchone()
    except duckdb.Error:
        return  # it has no value at all
    assert found is not None
    assert found[0] is None or found[0] <= bound + 1e-6 * abs(bound), (text, bound, found)


@pytest.mark.parametrize(
    "size",
    [
        "a", "a * a", "length(b) * 99", "len(range(a))", "bit_length(repeat('x', a))", "random()", "row_number() OVER ()", "length(b) * length(b)", "least(a, a)", "least(a, NULL)", "coalesce(a, 1)", "a / 0.001",
        "a // a", "(SELECT max(a) FROM t)", "greatest(a, 3)", "CASE WHEN a > 1 THEN a ELSE 3 END",
        "least(a, 100) * 2000", "hash(a)", "epoch(now())::BIGINT + a", "abs(a)", "a % 1000000007", "a::UBIGINT",
        "count(*) OVER ()", "round(a, -9)", "list_max([a])", "a << 30", "struct_extract({'x': a}, 'x')",
        "a.greatest(5)", "a.least(5)", 'a."-"(5)', "a.trunc(5)::INT", "least('1000', b)::INT", "least(b, 1000)::INT",
        "'9999'::BLOB::BIT::INT", "(0.1::FLOAT)::BIT::BLOB::BIT::INT", "length(range(a))::INT", "(len(b) * 99)::INT",
        "(-(-a.greatest(1)))::INT", "5 + a.greatest(1)", "'0x77359400'", "1000::BIT::INTEGER", "position(b IN b) * 99",
    ],
)  # fmt: skip
def test_what_nothing_bounds_is_refused(guard: Guard, size: str) -> None:
    for call in (f"lpad(b, {size}, 'y')", f"rpad(b, {size}, 'yz')", f"bitstring('1', {size})"):
        with pytest.raises(StatementRefusedError) as caught:
            guard.judge(f"SELECT {call} FROM t", Role.ANALYST)
        assert caught.value.rule == "literal-size"


@pytest.mark.parametrize(
    "size",
    ["least(a, 1000)", "a % 100", "length(b) + 3", "30 - length(b)", "CASE WHEN a > 3 THEN 5 ELSE 9 END",
     "least(a::INTEGER, 1000)::INTEGER", "(length(b) + 1)::INTEGER", "length(b)::INTEGER", "5", "20::INTEGER",
     "(30 - length(b))::INT", "least(a, 50) + 2"],
)  # fmt: skip
def test_what_the_expression_bounds_passes(guard: Guard, size: str) -> None:
    guard.judge(f"SELECT lpad(b, {size}, 'y') FROM t", Role.ANALYST)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT b.lpad(20, ' '), t.b.rpad(20, '-'), b.rpad(least(a, 30), ' ') FROM t",
        "SELECT format(CASE WHEN a = 1 THEN '{} item' ELSE '{} items' END, a) FROM t",
        "SELECT printf(if(a = 1, '%d item', '%d items'), a), printf('%d' || ' of ' || '%d', a, a) FROM t",
    ],
)
def test_what_people_write_passes(guard: Guard, sql: str) -> None:
    guard.judge(sql, Role.ANALYST)


@pytest.mark.parametrize(
    "format_",
    [
        "'%' || a || 'd'",
        "b",
        "concat('{:', a, '}')",
        "(SELECT max(b) FROM t)",
        "upper('%d')",
        "'{:' || epoch(now())::BIGINT::VARCHAR || 'd}'",
        "concat('%', random(), 's')",
        "'%' || (row_number() OVER ())::VARCHAR || 's'",
        "CASE WHEN a > 1 THEN b ELSE '%d' END",
    ],
)
def test_no_column_gives_a_format(guard: Guard, format_: str) -> None:
    for name in ("printf", "format"):
        with pytest.raises(StatementRefusedError, match=re.escape(name)):
            guard.judge(f"SELECT {name}({format_}, a) FROM t", Role.ANALYST)
