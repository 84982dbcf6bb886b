"""A text is cut into statements where DuckDB's own parser cuts it."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoduck.cli.sql_texts import split_statements

PIECES = [
    *("SELECT 1", "SELECT ';'", "SELECT 'it''s; so'", "SELECT E'a\\'; b'", "SELECT e'\\\\'"),
    *('SELECT 1 AS ";"', 'SELECT 1 AS "a""; b"', "SELECT $$;$$", "SELECT $tag$ ; $$ ; $tag$"),
    *("SELECT $1", "SELECT 1 AS a$b$, 2 AS c$b$", "SELECT 1 -- ; 'no\n + 1", "SELECT 1 /* ; ' */"),
    *("SELECT /* a /* ; */ ; */ 1", "SELECT 1 AS ünï", "SELECT '\\'", "SELECT name'x' FROM t"),
    *(
        "SELECT x'AB', ';'",
        "SELECT 2 - -1",
        "SELECT 4 / 2 * 1",
        "SELECT $a, ';', $b",
        "SELECT '\n;\n'",
    ),
]
BETWEEN = [";", " ; ", ";;", ";\n-- a ; comment\n", ";/* ; */", "\n;\n"]


@given(
    pieces=st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(BETWEEN)), max_size=6),
    is_closed=st.booleans(),
)
def test_any_statements(pieces: list[tuple[str, str]], is_closed: bool) -> None:
    text = "".join(piece + between for piece, between in pieces)
    if not is_closed:
        text += "SELECT 'the last'"
    expected = [each.query.strip() for each in duckdb.extract_statements(text)]
    found = split_statements(text)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert duckdb.tokenize(ours) == duckdb.tokenize(ours.strip())
        assert _bare(ours) == _bare(theirs)


def _bare(text: str) -> list[str]:
    """The words, without the comments around the statement and its semicolon."""
    starts = [at for at, kind in duckdb.tokenize(text) if kind != duckdb.token_type.comment]
    ends = [*starts[1:], len(text.encode())]
    data = text.encode()
    words = [data[start:end].decode().strip() for start, end in zip(starts, ends, strict=True)]
    cleaned = [word.split("--")[0].split("/*")[0].strip() for word in words]
    return [word for word in cleaned if word not in (";", "")]


@pytest.mark.parametrize("text", ["", " \n", ";", "-- only a comment", "/* ; */ ; -- ;"])
def test_nothing(text: str) -> None:
    assert split_statements(text) == []


@pytest.mark.parametrize(
    "text", ["SELECT 'a", 'SELECT "a', "SELECT $$a", "SELECT /* a", "'", "$", "E'\\"]
)
def test_what_does_not_end_is_one_statement_and_refused_by_the_service(text: str) -> None:
    assert split_statements(text) == [text]


@pytest.mark.parametrize(
    "text", ["INSERT INTO t VALUES (1); DELETE FROM t\0 WHERE a = 1", "SELECT 1;\0"]
)
def test_a_text_with_a_nul_byte_is_refused_before_any_of_it_is_run(text: str) -> None:
    assert split_statements(text) == [text]
