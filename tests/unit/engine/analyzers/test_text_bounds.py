"""Bounds of a text that come before the parser."""

from __future__ import annotations

import pytest

from chronoduck.engine.analyzers.text_bounds import check_text
from chronoduck.errors import StatementRefusedError

NAMES = [f"c{n}" for n in range(400)]
COLUMNS = ", ".join(NAMES)


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        (
            f"SELECT 1 FROM t GROUP BY ROLLUP({', '.join(NAMES[:200])}), ROLLUP({COLUMNS})",
            "expansion",
        ),
        ("SELECT 1 FROM t GROUP BY CUBE(a, b, c, d, e, f, g, h, i, j, k)", "expansion"),
        (
            "SELECT 1 FROM t GROUP BY cube /* x */ (a, b, c, d, e), CUBE(f, g, h, i, j, k)",
            "expansion",
        ),
        (
            "SELECT 1 FROM t GROUP BY GROUPING SETS (CUBE(a,b,c,d,e,f,g,h,i,j,k), (a), ROLLUP(b, c))",
            "expansion",
        ),
        (f"SELECT 1 FROM t GROUP BY GROUPING SETS ({', '.join(['(a, b)'] * 2000)})", "expansion"),
        (
            " UNION ALL ".join(
                [f"SELECT 1 FROM t GROUP BY ROLLUP({', '.join(NAMES[:25])}), ROLLUP(x, y, z)"] * 40
            ),
            "expansion",
        ),
        ("SELECT " + "(" * 600 + "1" + ")" * 600, "nesting"),
        ("SELECT " + "[" * 600 + "1" + "]" * 600, "nesting"),
        ("SELECT 1 IN (" + "1," * 20_001 + "1)", "too-many-terms"),
        ("SELECT " + "1+" * 45_000 + "1", "too-many-terms"),
    ],
)
def test_what_is_too_much_is_refused(sql: str, rule: str) -> None:
    with pytest.raises(StatementRefusedError) as refused:
        check_text(sql, may_be_bulk=True)
    assert refused.value.rule == rule


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "SELECT a, b, sum(c) FROM t GROUP BY ROLLUP(a, b, c, d, e, f, g, h)",
        "SELECT a FROM t GROUP BY GROUPING SETS ((a), (a, b), ROLLUP(a, b), CUBE(a, b, c))",
        "SELECT grouping(a), cube FROM rollup GROUP BY a, grouping",
        "SELECT 1 FROM t GROUP BY CUBE(a, b, c, d, e) UNION SELECT 2 FROM t GROUP BY CUBE(a, b, c, d)",
        "SELECT '" + "(" * 5000 + "," * 50_000 + "'",
        'SELECT "' + "[" * 5000 + '" FROM t',
        "SELECT x IN (" + ", ".join(f"'{n:012x}'" for n in range(5_000)) + ") FROM t",
        "SELECT " + "(" * 400 + "1" + ")" * 400,
    ],
)
def test_what_people_write_is_accepted(sql: str) -> None:
    check_text(sql, may_be_bulk=True)


def test_a_bulk_insert_is_not_counted() -> None:
    check_text("INSERT INTO t VALUES " + ", ".join(["(1, 2, 3)"] * 60_000), may_be_bulk=True)


def test_a_row_filter_is_never_a_bulk_insert() -> None:
    with pytest.raises(StatementRefusedError) as refused:
        check_text("a = '" + "x" * 200_000 + "'", may_be_bulk=False)
    assert refused.value.rule == "too-long"
