"""Calls of all that the installed DuckDB can do with one large value: functions, aggregates, casts.

The list is the engine's own, so that what a new version brings is called, too.
"""

# ruff: noqa: E501 - pieces of statements

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import duckdb

__all__ = ["SIZES", "Call", "calls", "setup"]

SIZES = (10_000, 100_000, 1_000_000)
_TEXTS = {
    "plain": "repeat('x', {n})",
    "path": "repeat('a/', {n} // 2)",
    "digits": "repeat('7', {n})",
    "brackets": "repeat('[', {n})",
    "pairs": "repeat('ab', {n} // 2)",
    "words": "repeat('a ', {n} // 2)",
    "object": "'{{' || (SELECT string_agg('\"k' || i || '\":1', ',') FROM range({n} // 10) t(i)) || '}}'",
    "array": "'[' || repeat('1,', {n} // 2) || '1]'",
}
_MADE = {
    "blob": ("repeat('x', {n})::BLOB", SIZES[-1]),
    "bit": ("repeat('10', {n} // 2)::BIT", SIZES[-1]),
    "bignum": ("repeat('7', {n})::BIGNUM", SIZES[0]),
    "numbers": ("range({n})", SIZES[1]),
    "strings": ("range({n})::VARCHAR[]", SIZES[1]),
    "map": ("map(range({n}), range({n}))", SIZES[0]),
}
_SMALL = {
    "BOOLEAN": "true", "DOUBLE": "0.5::DOUBLE", "FLOAT": "0.5::FLOAT", "DATE": "DATE '2020-01-01'", "TIME": "TIME '01:00:00'",
    "TIMESTAMP": "TIMESTAMP '2020-01-01'", "INTERVAL": "INTERVAL 1 DAY", "LAMBDA": "lambda v: v", "VARCHAR": "'a'",
    "BLOB": "'a'::BLOB", "BIT": "'101'::BIT", "JSON": "'{\"a\": 1}'::JSON", "UUID": "uuid()", "BIGNUM": "7::BIGNUM",
    "ANY": "'a'", "T": "'a'", "MAP": "MAP {1: 1}", "STRUCT": "{'a': 1}", "POINTER": "3",
}  # fmt: skip
_NUMBERS = ("INTEGER", "BIGINT", "HUGEINT", "SMALLINT", "TINYINT", "DECIMAL")
_KINDS = {
    "VARCHAR": tuple(_TEXTS), "JSON": tuple(_TEXTS), "BLOB": ("blob",), "BIT": ("bit",), "BIGNUM": ("bignum",),
    "ANY": ("plain", "numbers", "map"), "T": ("plain", "numbers"), "MAP": ("map",),
}  # fmt: skip


class Call(NamedTuple):
    """An expression over columns: ``x`` holds a large value, ``y`` another one, ``n`` is its size."""

    name: str
    expression: str
    value: str
    is_table: bool = False
    """Whether it stands in FROM."""

    def sql(self, size: int) -> str:
        """Return the statement for a value of that size."""
        table = f"v_{self.value}_{size}"
        if self.is_table:
            return f"SELECT count(*) FROM {table}, {self.expression}"
        return f"SELECT hash({self.expression}) FROM {table}"


def sizes_of(value: str) -> tuple[int, ...]:
    """Return the sizes in which there is such a value."""
    most = SIZES[-1] if value in _TEXTS else _MADE[value][1]
    return tuple(size for size in SIZES if size <= most)


def setup() -> list[str]:
    """Return the statements that make the values, each in a table of one row."""
    made = {**_TEXTS, **{kind: text for kind, (text, _) in _MADE.items()}}
    return [
        f"CREATE TABLE v_{value}_{size} AS SELECT x, {_other(value)} AS y, {size} AS n "
        f"FROM (SELECT {text.format(n=size)} AS x)"
        for value, text in made.items()
        for size in sizes_of(value)
    ]


def _other(value: str) -> str:
    """Return a value of the same size: comparing texts that are equal is no work."""
    return "translate(x, 'xa7[1k', 'yb8]2j')" if value in _TEXTS else "x"


def calls() -> Iterator[Call]:
    """Yield what can be called, every parameter that may be large in turn, then all of them at once."""
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT function_name, function_type, parameter_types::VARCHAR[], "
            "coalesce(varargs::VARCHAR, '') FROM duckdb_functions() WHERE function_type IN "
            "('scalar', 'aggregate', 'macro', 'table', 'table_macro') ORDER BY ALL"
        ).fetchall()
        types = connection.execute(
            "SELECT DISTINCT type_name FROM duckdb_types() WHERE database_name = 'system' ORDER BY 1"
        ).fetchall()
    seen: set[Call] = set()
    for name, function_type, parameters, more in rows:
        parameters = [str(type_) for type_ in parameters or ()]
        if more:
            parameters += [more, more]
        for call in _calls_of(
            str(name), parameters, is_table=str(function_type).startswith("table")
        ):
            if call not in seen:
                seen.add(call)
                yield call
    for (type_,) in types:
        for value in (*_TEXTS, *_MADE):
            yield Call(f"cast to {type_}", f"TRY_CAST(x AS {type_})", value)
            if value in _TEXTS:
                yield Call(f"cast to {type_}[]", f"TRY_CAST(x AS {type_}[])", value)
    for value in _TEXTS:
        for type_ in ("STRUCT(a INTEGER)", "MAP(INTEGER, INTEGER)"):
            yield Call(f"cast to {type_}", f"TRY_CAST(x AS {type_})", value)


def _calls_of(name: str, parameters: list[str], *, is_table: bool) -> Iterator[Call]:
    values = [_values_of(type_) for type_ in parameters]
    large = [position for position, kinds in enumerate(values) if kinds]
    numbers = [position for position, type_ in enumerate(parameters) if type_ in _NUMBERS]
    choices = [frozenset({position}) for position in large]
    if len(large) > 1:
        choices.append(frozenset(large))
    for chosen in choices:
        first = min(chosen)
        for value in values[first]:
            arguments = [
                ("x" if at == first else "y") if at in chosen else _small(type_)
                for at, type_ in enumerate(parameters)
            ]
            yield Call(name, _call(name, arguments), value, is_table)
    if numbers:
        arguments = ["n" if at in numbers else _small(type_) for at, type_ in enumerate(parameters)]
        yield Call(name, _call(name, arguments), "plain", is_table)


def _call(name: str, arguments: list[str]) -> str:
    if not name.replace("_", "").isalnum():
        name = '"' + name.replace('"', '""') + '"'
    return f"{name}({', '.join(arguments)})"


def _values_of(type_: str) -> tuple[str, ...]:
    if type_.endswith("]"):
        return ("numbers", "strings")
    return _KINDS.get(type_.partition("(")[0], ())


def _small(type_: str) -> str:
    if type_.endswith("]"):
        return "[1, 2]"
    word = type_.partition("(")[0]
    return _SMALL.get(word) or next(
        (text for known, text in _SMALL.items() if len(known) > 1 and word.startswith(known)), "3"
    )
