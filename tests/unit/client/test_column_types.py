"""DuckDB's type names, taken apart: what the engine itself calls its types."""

from __future__ import annotations

import duckdb
import pytest

from chronoduck.client.column_types import ColumnType, parse_type

INTEGER, DATE, VARCHAR = ColumnType("INTEGER"), ColumnType("DATE"), ColumnType("VARCHAR")


def name_of(sql: str) -> str:
    """Return the engine's name of an expression's type."""
    with duckdb.connect() as connection:
        row = connection.execute(f"SELECT typeof({sql})").fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize(
    ("sql", "parsed"),
    [
        ("1", INTEGER),
        ("1.50", ColumnType("DECIMAL", arguments=("3", "2"))),
        ("now()", ColumnType("TIMESTAMP WITH TIME ZONE")),
        ("[1]", ColumnType("LIST", (("child", INTEGER),))),
        ("[1]::INT[1]", ColumnType("ARRAY", (("child", INTEGER),))),
        ("[[1]]::INT[1][]", parse_type("INTEGER[1][]")),
        ("{'a': 1, 'b c': ['x']}", parse_type('STRUCT(a INTEGER, "b c" VARCHAR[])')),
        ("""{'q"(,': 1}""", ColumnType("STRUCT", (('q"(,', INTEGER),))),
        ("map {1: DATE '2024-01-01'}", ColumnType("MAP", (("key", INTEGER), ("value", DATE)))),
        ("union_value(n := 1)", ColumnType("UNION", (("n", INTEGER),))),
        ("'a'::ENUM('a', ')''[]')", ColumnType("ENUM", arguments=("'a'", "')''[]'"))),
        (
            "{'t': TIMETZ '01:00:00+00', 'm': map {'a': {'x': 1}}}",
            ColumnType(
                "STRUCT",
                (
                    ("t", ColumnType("TIME WITH TIME ZONE")),
                    (
                        "m",
                        ColumnType(
                            "MAP",
                            (
                                ("key", VARCHAR),
                                ("value", ColumnType("STRUCT", (("x", INTEGER),))),
                            ),
                        ),
                    ),
                ),
            ),
        ),
    ],
)
def test_a_name_of_the_engine_is_taken_apart(sql: str, parsed: ColumnType) -> None:
    assert parse_type(name_of(sql)) == parsed


@pytest.mark.parametrize("sql", ["row(1, 'x')", "row(TIMETZ '01:00:00+00', [1])", "row(now())"])
def test_what_row_makes_has_members_without_names(sql: str) -> None:
    parsed = parse_type(name_of(sql))
    assert parsed.id in ("STRUCT", "TUPLE")
    assert {name for name, _ in parsed.members} == {""}
    assert parsed.members[0][1].id in ("INTEGER", "TIME WITH TIME ZONE", "TIMESTAMP WITH TIME ZONE")


@pytest.mark.parametrize("text", ["", "STRUCT(", "MAP(A)", "A]B", "STRUCT(a INTEGER"])
def test_a_name_that_cannot_be_read_is_a_type_of_that_name(text: str) -> None:
    parsed = parse_type(text)
    assert parsed.id.startswith(text[:1])
