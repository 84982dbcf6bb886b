"""Texts of one shape become one, whatever their literals; no literal is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoduck.sql.normalizing import fingerprint, normalize_statement


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT  1;", "select ?"),
        ("select a\nFROM T -- it's a comment\nWHERE b='x'", "select a from t where b = ?"),
        ("SELECT /* a, b */ a FROM t", "select a from t"),
        ("SELECT /* a /* b */ 'c' */ a FROM t", "select a from t"),
        ('SELECT "A b".c FROM t', 'select "a b".c from t'),
        ("SELECT * FROM t WHERE a IN (1, 2, -3)", "select * from t where a in (?, ...)"),
        ("SELECT * FROM t WHERE a IN ('x')", "select * from t where a in (?)"),
        ("INSERT INTO t VALUES (1, 'a'), (2, NULL)", "insert into t values (?, ...), ..."),
        ("INSERT INTO t VALUES (1), (2), (3)", "insert into t values (?, ...), ..."),
        ("SELECT $1 + $name + ?", "select ? + ? + ?"),
        ("SELECT $$it's$$, $tag$ 'x' $tag$", "select ?, ..."),
        ("SELECT e'it\\'s', 0xFF, 1.5e-3, x'ab'", "select ?, ..."),
        ("SELECT f(a, 1)::INT, l[2]", "select f(a, ?)::int, l[?]"),
        ("SELECT a - 1 FROM t LIMIT 5", "select a - ? from t limit ?"),
        ("SELECT count(*) FROM read_x('y') AS q(a)", "select count(*) from read_x(?) as q(a)"),
        ("", ""),
    ],
)
def test_a_text_becomes_its_shape(sql: str, expected: str) -> None:
    assert normalize_statement(sql) == expected


def test_a_bulk_insert_has_one_shape_however_long_it_is() -> None:
    head = "INSERT INTO t (a, b) VALUES "
    shapes = {
        normalize_statement(head + ", ".join(f"({n}, 'row {n}')" for n in range(count)))
        for count in (2, 100, 999, 5_000)
    }
    assert shapes == {"insert into t(a, b) values (?, ...), ..."}


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE SECRET s (TYPE s3, KEY_ID 'AKIAIOSFODNN7EXAMPLE', SECRET hunter2hunter2)",
        "ATTACH 'postgres://ann:hunter2hunter2@host/db' AS pg",
        "SELECT * FROM t WHERE token = hunter2hunter2",
        'SELECT "dak_hunter2hunter2hunter2"',
        "SELECT 'hunter2hunter2",
        "SELECT /* /* ' */ */ 'hunter2hunter2' /* ' */",
        "SELECT $$ ' $$, 'hunter2hunter2'",
        "SELECT e'\\'', 'hunter2hunter2'",
    ],
)
def test_no_secret_is_left(sql: str) -> None:
    assert "hunter2" not in normalize_statement(sql)
    assert "AKIA" not in normalize_statement(sql)


@given(
    st.lists(
        st.sampled_from(
            [
                "'q7x'",
                '"n"',
                "$$q7x$$",
                "$t$q7x$t$",
                "/*",
                "*/",
                "--",
                "\n",
                "''",
                "1",
                "a",
                "(",
                ",",
            ]
        ),
        max_size=12,
    )
)
def test_a_literal_in_quotes_is_gone_wherever_it_stands(pieces: list[str]) -> None:
    """In a text that DuckDB may refuse, too; unless the quotes are in a comment or a name."""
    text = normalize_statement(" ".join(pieces))
    opened = " ".join(pieces)
    if not any(mark in opened for mark in ("/*", "*/", "--", "$")):
        assert "q7x" not in text


@given(st.text(max_size=200))
def test_any_text_can_be_normalized_and_has_a_fingerprint(text: str) -> None:
    assert len(fingerprint(normalize_statement(text))) == 16
