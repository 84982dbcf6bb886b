"""Which characters split a text: every code point run by the installed engine."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import duckdb
import pytest

from chronoduck.sql.characters import UNICODE_SPACES, is_name_character, stray_character

BEYOND_ASCII = [chr(code) for code in range(0x80, 0x110000) if not 0xD800 <= code <= 0xDFFF]


def cut(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def names_of(aliases: Sequence[str]) -> list[str]:
    selected = duckdb.connect().execute("SELECT " + ", ".join(f"1 AS {alias}" for alias in aliases))
    return [column[0] for column in selected.description or ()]


def test_all_code_points_but_the_listed_spaces_are_parts_of_names() -> None:
    parts = [character for character in BEYOND_ASCII if character not in UNICODE_SPACES]
    assert len(parts) + len(UNICODE_SPACES) + 0x80 + 0x800 == 0x110000
    for run in cut(parts, 20_000):
        # One name for twenty thousand of them: a single space among them would end it.
        name = "a" + "".join(run) + "b"
        assert names_of([name]) == [name]
        assert len(duckdb.tokenize(name)) == 1


@pytest.mark.parametrize("space", sorted(UNICODE_SPACES))
def test_the_listed_spaces_are_spaces_to_the_parser_alone(space: str) -> None:
    assert names_of([f"{space}a{space}", "b"]) == ["a", "b"]
    assert len(duckdb.tokenize(f"a{space}b")) == 1
    assert not is_name_character(space)


def test_letters_marks_and_digits_begin_and_end_names() -> None:
    letters = [character for character in BEYOND_ASCII if is_name_character(character)]
    assert len(letters) > 130_000
    for some in cut(letters, 1_000):
        for aliases in ([f"{each}a" for each in some], [f"a{each}" for each in some]):
            assert names_of(aliases) == aliases


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1\u00a0",
        "SELECT\u00a01",
        "SELECT a\u2028b",
        "SELECT 1\u0085",
        "SELECT 'a'\u3000",
        "SELECT \U0001f600",
        "SELECT 1\x0b",
        "SELECT\x0c1",
        "SELECT 1\x00",
        "SELECT 1 \x7f",
        "SELECT 'a\ud800'",
        "SELECT $t\u00a0$ 1 $t\u00a0$",
        "SELECT $\u2028$t$ 1 $t$",
        "SELECT varchar\u2028$t$ , secret() AS y\u2028$t$",
        "SELECT \u2028E'\\' || secret() --'",
        "EXPLAIN (ANALYZE x\u2028$t$) COPY t TO 'x' --$t$) SELECT 1",
        "SELECT 1 -- \u00a0\n\u00a0",
        "SELECT '' /* ' */ \u00a0 /* ' */",
    ],
)
def test_a_character_that_could_split_the_text_is_stray(sql: str) -> None:
    assert stray_character(sql) is not None


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1\t\r\n",
        "SELECT stra\u00dfe, \u00e9t\u00e9, \u4e2d\u6587, \u0928\u093f, \u0663x FROM \u00fcbersicht",
        "SELECT '\u00a0 \u2014 \U0001f600 \x1b[1m \x00 \x0b'",
        'SELECT "\u00a0 \u2014 \U0001f600"',
        "SELECT 1 -- \u2014 \U0001f600 \u00a0\n",
        "SELECT 1 /* \u2014 /* \u00a0 */ \u2028 */ + 1",
        "SELECT $$ \u00a0 $$, $t$ \u2028 $t$, E'\\'\u00a0'",
    ],
)
def test_letters_anywhere_and_others_in_literals_are_not(sql: str) -> None:
    assert stray_character(sql) is None


def test_a_code_point_between_words_is_a_letter_mark_or_digit_or_refused() -> None:
    """A sample of all: each as the only separator, and as the end of a word before a literal."""
    for character in BEYOND_ASCII[::97] + sorted(UNICODE_SPACES):
        is_word = unicodedata.category(character)[0] in "LMN"
        for sql in (f"SELECT{character}1", f"SELECT a{character}'b'", f"SELECT {character}$t$ $t$"):
            assert (stray_character(sql) is None) == is_word
        for sql in (f"SELECT '{character}'", f"--{character}\nSELECT 1", f'SELECT "{character}"'):
            assert stray_character(sql) is None
