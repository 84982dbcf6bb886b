"""EXPLAIN: its options by a list, and what it runs."""

from __future__ import annotations

import pytest

from chronoduck.sql.explaining import read_explain
from chronoduck.sql.tokens import read_tokens


@pytest.mark.parametrize(
    ("options", "is_run"),
    [
        ("", False),
        ("ANALYZE", True),
        ("ANALYSE", True),
        ("(ANALYZE)", True),
        ('("analyze")', True),
        ("(FORMAT json)", False),
        ("(FORMAT 'JSON')", False),
        ("(FORMAT graphviz, ANALYZE)", True),
        ("/* a */ (analyze, format text) --\n", True),
    ],
)
@pytest.mark.parametrize("text", ["SELECT 1", "(SELECT 1)", "DELETE FROM t -- x", "FROM t"])
def test_the_statement_behind_the_options_is_found(options: str, is_run: bool, text: str) -> None:
    sql = f"EXPLAIN {options} {text}"
    assert read_explain(sql, read_tokens(sql)) == (text, is_run, None)


@pytest.mark.parametrize(
    "options",
    [
        "(ANALYZE false)",
        "(ANALYZE 0)",
        "(ANALYZE x)",
        "(ANALYZE (SELECT 1))",
        "(ANALYZE f(1))",
        "(ANALYZE,)",
        "(FORMAT)",
        "(FORMAT json json)",
        "(FORMAT 'x.so')",
        "(FORMAT (SELECT 1))",
        "(VERBOSE)",
        "(SETTINGS, ANALYZE)",
        "('analyze')",
        "()",
    ],
)
def test_other_options_are_a_problem(options: str) -> None:
    sql = f"EXPLAIN {options} SELECT 1"
    assert read_explain(sql, read_tokens(sql)).problem is not None
