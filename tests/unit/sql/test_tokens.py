"""Tokens of statements, and texts that two readers would cut differently."""

from __future__ import annotations

import duckdb
import pytest

from chronoduck.sql.tokens import has_gaps, read_tokens

IS_VERSION_1 = duckdb.__version__.startswith("1.")


@pytest.mark.parametrize(
    ("sql", "last"),
    [
        ("SELECT 1_000.5e-3", ("number", "1_000.5e-3")),
        ("SELECT $x$ a'b $x$", ("string", " a'b ")),
        ("SELECT $$a$$", ("string", "a")),
        ("SELECT E'a\\'b'", ("string", "a\\'b")),
        ("SELECT E'a\\\\'", ("string", "a\\\\")),
        ("SELECT 'it''s'", ("string", "it's")),
        ("SELECT x'41'", ("string", "41")),
        ("SELECT 'a' -- a comment\n 'b'", ("string", "ab")),
        ("SELECT 'a'\r\n'b''c'\n'd' /* end */", ("string", "ab'cd")),
        ('SELECT "A""b"', ("quoted", 'a"b')),
        ("SELECT \u00c9t\u00e9$1", ("word", "\u00e9t\u00e9$1")),
        ("SELECT a -- end", ("word", "a")),
        ("SELECT a /* /* nested */ -- */", ("word", "a")),
        ("SELECT N'a'", ("string", "a")),
    ],
)
def test_the_last_token_is_read_as_the_engine_reads_it(sql: str, last: tuple[str, str]) -> None:
    tokens = read_tokens(sql)
    assert (tokens[-1].kind, tokens[-1].text) == last
    assert not has_gaps(sql, tokens)


@pytest.mark.skipif(IS_VERSION_1, reason="DuckDB 1.5 takes a backtick for an operator")
def test_a_name_in_backticks_is_a_name() -> None:
    assert read_tokens("DROP SCHEMA `A``b c`")[-1][:2] == ("quoted", "a`b c")


@pytest.mark.parametrize(
    "sql",
    ["SELECT 'a", "SELECT $a$ b", "SELECT E'a\\'", "SELECT e'x' 'y\\''", 'SELECT "a'],
)
def test_a_text_that_ends_inside_a_literal_has_a_gap(sql: str) -> None:
    assert has_gaps(sql, read_tokens(sql))


def test_what_the_tokenizer_leaves_out_is_a_gap() -> None:
    sql = "SELECT 1, secret()"
    assert has_gaps(sql, read_tokens(sql)[:2])
    assert has_gaps(sql, read_tokens(sql)[1:])
    assert not has_gaps(sql, read_tokens(sql))


def test_reading_is_linear_in_the_text() -> None:
    """Each of these made a reader that looks back take minutes; here the size alone counts."""
    for piece in (
        "/* ",
        "--\n",
        "'",
        "''",
        "\\",
        "E'\\'",
        '"',
        "$a$",
        "'a'\n",
        "-",
        "/",
        "(",
        "\r",
    ):
        sql = "SELECT " + piece * (20_000 // len(piece))
        has_gaps(sql, read_tokens(sql))
