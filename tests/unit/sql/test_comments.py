"""Texts that DuckDB 1.5 reads in quadratic time are refused before it sees them."""

from __future__ import annotations

import duckdb
import pytest

from chronoduck.errors import DuckDBException, StatementRefusedError
from chronoduck.sql.comments import has_slow_comments
from chronoduck.sql.statements import StatementParser

IS_VERSION_1 = duckdb.__version__.startswith("1.")


@pytest.mark.parametrize("piece", ["/*", "/**/", "/*+", "*/*"])
def test_a_long_run_of_comment_signs_is_slow_in_version_1_alone(piece: str) -> None:
    sql = "SELECT 1 " + piece * 10_000
    assert has_slow_comments(sql) is IS_VERSION_1
    with pytest.raises(StatementRefusedError if IS_VERSION_1 else DuckDBException):
        StatementParser().parse(sql + ";" + ";SELECT 2")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 " + "/* a comment */ " * 1_000,
        "/" + "*" * 300 + " a banner\n" + "*" * 300 + "/ SELECT 1",
        "SELECT '" + "text/html,*/*;q=0.8 " * 1_000 + "'",
        "SELECT 1 " + "-- =====\n" * 1_000,
    ],
)
def test_usual_comments_are_not(sql: str) -> None:
    assert not has_slow_comments(sql)
