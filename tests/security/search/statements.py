"""Statements to search with: every function that the guard passes, with large, deep and odd arguments."""

# ruff: noqa: E501, ISC004 - pieces of statements

from __future__ import annotations

import random
from collections.abc import Iterator

import duckdb

__all__ = ["SETUP", "statements"]

SETUP = (
    "CREATE TABLE t AS SELECT i::INTEGER AS i, i::VARCHAR AS s, (i * 1.5)::DOUBLE AS d, [i, i] AS l, "
    "{'a': i} AS r, DATE '2020-01-01' + i::INTEGER AS day, '{\"a\": [1]}'::JSON AS j FROM range(2000) x(i)",
    "CREATE TABLE wide AS SELECT " + ", ".join(f"1 AS c{i}" for i in range(300)),
    "CREATE MACRO twice(x) AS x || x",
)
_TEXTS = (
    "repeat('a', 90000)", "repeat('ab', 9000)", "repeat('a%', 400)", "'%a_%a_%a_%ab'", "'*a*a*a*ab'", "s",
    "repeat('[', 9000) || repeat(']', 9000)", "repeat('{\"a\":', 900) || '1' || repeat('}', 900)", "''", "'\\\\1'",
    "twice(twice(twice('abcdefgh')))", "repeat('(a?)', 900)", "'2147483647'", "repeat('9', 9000)",
)  # fmt: skip
_NUMBERS = (
    "i", "0", "-1", "1", "65536", "2147483647", "-2147483648", "9223372036854775807", "1e308", "1e-308", "'nan'::DOUBLE",
    "'inf'::DOUBLE", "170141183460469231731687303715884105727", "0.5", "d", "repeat('9', 9000)::BIGNUM",
)  # fmt: skip
_LISTS = (
    "range(100000)", "[1, 2]", "[]", "l", "[[1], [2]]", "range(1000)::VARCHAR[]", "[NULL]", "[1, 2]::INTEGER[2]",
    "list_transform(range(1000), x -> repeat('x', 100))", "generate_series(DATE '2000-01-01', DATE '2400-01-01', INTERVAL 1 DAY)",
)  # fmt: skip
_OTHERS = (
    "NULL", "r", "j", "day", "now()", "INTERVAL 1000000 YEAR", "TIMESTAMP '290000-01-01'", "DATE '5000000-01-01'",
    "MAP {'a': 1}", "{'a': {'b': [1]}}", "'\\xFF'::BLOB", "repeat('1', 9000)::BIT", "uuid()", "true", "'x -> x'", "x -> x",
    "(x, y) -> x", "'a'::ENUM('a', 'b')", "TIME '24:00:00'", "union_value(a := 1)", "'day'", "'array'",
)  # fmt: skip
_POOLS = (_TEXTS, _NUMBERS, _LISTS, _OTHERS)
_TYPED = {"VARCHAR": _TEXTS, "JSON": _TEXTS, "BLOB": _TEXTS, "BIT": _OTHERS}
_NUMERIC = ("INT", "DOUBLE", "FLOAT", "DECIMAL", "BIGNUM")
_SHAPES = (
    "SELECT {0} FROM t", "SELECT {0}", "SELECT count(*) FROM t WHERE ({0}) IS NOT NULL", "SELECT {0} FROM t GROUP BY i LIMIT 3",
    "SELECT length(({0})::VARCHAR)", "SELECT [{0}, {0}]", "SELECT {{'a': {0}}}", "SELECT i FROM t ORDER BY {0} LIMIT 3",
    "SELECT max({0}) OVER (ORDER BY i) FROM t",
)  # fmt: skip
_NESTS = (
    "({0} || {0})", "[{0}]", "{{'a': {0}, 'b': {0}}}", "coalesce({0}, {0})", "CASE WHEN i > 1 THEN {0} ELSE {0} END", "(SELECT {0})",
    "list_transform([{0}], x -> x)", "greatest({0}, {0})", "({0} BETWEEN {0} AND {0})", "nullif({0}, {0})", "MAP {{'a': {0}}}",
    "struct_pack(a := {0})", "replace({0}::VARCHAR, '1', '11')", "({0} + {0})", "({0} IN ({0}, {0}))", "try({0})", "-{0}", "not({0})",
)  # fmt: skip
_FROMS = (
    "wide NATURAL JOIN wide w2", "wide JOIN wide w2 USING (c1, c2, c3)", "t, t t2, t t3", "t POSITIONAL JOIN t t2",
    "(SELECT COLUMNS(*) + COLUMNS(*) FROM wide)", "(SELECT *, * FROM wide)", "(SUMMARIZE wide)", "(PIVOT t ON i % 100 USING sum(d))",
    "(UNPIVOT wide ON COLUMNS(*))", "t ASOF JOIN t t2 ON t.i >= t2.i", "(FROM t GROUP BY CUBE (i, s, d) SELECT i, s, d)",
    "range(1000000000)", "unnest(range(1000000))", "(SELECT unnest(l, recursive := true) FROM t)", "json_tree(repeat('[', 9000) || repeat(']', 9000))",
)  # fmt: skip


def statements(seed: int, count: int) -> Iterator[str]:
    """Yield that many statements, the same ones for the same seed."""
    dice = random.Random(seed)
    functions = _functions()
    for _ in range(count):
        chance = dice.random()
        if chance < 0.7:
            expression = _call(dice, functions, 2)
        elif chance < 0.9:
            expression = dice.choice(dice.choice(_POOLS))
            form = dice.choice(_NESTS)
            for _ in range(dice.choice((2, 5, 9, 12, 40))):
                form = form if dice.random() < 0.7 else dice.choice(_NESTS)
                if len(expression) > 20_000:
                    break
                expression = form.format(expression)
        else:
            yield f"SELECT * FROM {dice.choice(_FROMS)} LIMIT {dice.choice(('3', '1000000000'))}"
            continue
        yield dice.choice(_SHAPES).format(expression)


def _functions() -> list[tuple[str, tuple[str, ...]]]:
    """Return the names of all functions but table functions, with the types of their parameters."""
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT function_name, parameter_types::VARCHAR[], varargs IS NOT NULL FROM duckdb_functions() "
            "WHERE function_type IN ('scalar', 'aggregate', 'macro') ORDER BY ALL"
        ).fetchall()
    found = []
    for name, types, has_more in rows:
        types = tuple(str(type_) for type_ in types or ())
        found.append((str(name), types + types[-1:] * 2 if has_more else types))
    return found


def _call(dice: random.Random, functions: list[tuple[str, tuple[str, ...]]], depth: int) -> str:
    name, types = dice.choice(functions)
    arguments = ", ".join(_argument(dice, type_, functions, depth) for type_ in types)
    if not name.replace("_", "").isalnum():
        name = '"' + name.replace('"', '""') + '"'
    return f"{name}({arguments})"


def _argument(
    dice: random.Random, type_: str, functions: list[tuple[str, tuple[str, ...]]], depth: int
) -> str:
    if depth and dice.random() < 0.15:
        return _call(dice, functions, depth - 1)
    if dice.random() < 0.1:
        return dice.choice(dice.choice(_POOLS))
    if type_.endswith("]"):
        return dice.choice(_LISTS)
    if any(word in type_ for word in _NUMERIC):
        return dice.choice(_NUMBERS)
    return dice.choice(_TYPED.get(type_) or dice.choice(_POOLS))
