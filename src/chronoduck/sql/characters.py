"""Characters of a statement that readers of SQL could disagree about.

DuckDB replaces 18 Unicode spaces by plain spaces before it parses, but ``duckdb.tokenize`` takes them
for letters. Every other character beyond ASCII is part of a name to both, its other spaces and
invisible marks too. ``tests/unit/sql/test_characters.py`` proves both by running all 1,114,112 code
points. So letters, marks and digits may stand anywhere. Any other character beyond ASCII, and any
control character but tab and line ends, may stand only where it cannot end or begin a token: inside a
literal, a name in quotes or a comment.
"""

from __future__ import annotations

import unicodedata

import duckdb

from chronoduck.errors import DuckDBQueryError

__all__ = ["UNICODE_SPACES", "is_name_character", "refuse_nul", "stray_character"]

UNICODE_SPACES = frozenset(
    "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u202f\u205f"
    "\u2060\u3000\ufeff"
)
"""What DuckDB 1.5 and 2.0 take for a space, found by running every code point."""

_CONTROLS = bytes(code for code in (*range(0x20), 0x7F) if chr(code) not in "\t\n\r")
_REPLACEMENTS = ("x", " ", "(")
"""A letter, a space, and what is a token of its own wherever a token may begin."""


def refuse_nul(sql: str) -> None:
    """Refuse a text with a NUL byte, wherever in it that is.

    DuckDB 1.5 ends the statement there: ``DELETE FROM t\\0 WHERE i = 3`` deletes every row. DuckDB 2.0
    reads on in literals, names and comments; what it does between words is not documented.

    Raises:
        DuckDBQueryError: there is one.
    """
    place = sql.find("\0")
    if place >= 0:
        raise DuckDBQueryError(
            f"the text holds a NUL byte at character {place + 1:,}",
            hint="Remove it. A value with a NUL byte is a parameter, or written with chr(0).",
            category="nul_byte",
            line=sql.count("\n", 0, place) + 1,
            column=place - sql.rfind("\n", 0, place),
        )


def is_name_character(character: str) -> bool:
    """Whether a character beyond ASCII is a letter, mark or digit: part of a name to DuckDB."""
    return unicodedata.category(character)[0] in "LMN"


def stray_character(sql: str) -> str | None:
    """Return a character that could split the text differently for two readers; None: there is none.

    A lone surrogate is one wherever it stands. 1 µs for a text of plain ASCII; three times
    ``duckdb.tokenize`` for a text with, say, a dash or an emoji in a literal.
    """
    if sql.isascii():
        data = sql.encode()
        if len(data.translate(None, _CONTROLS)) == len(data):
            return None
    suspects = {
        character: len(character.encode(errors="surrogatepass"))
        for character in set(sql)
        if not _is_plain(character)
    }
    if not suspects:
        return None
    surrogate = next((each for each in suspects if "\ud800" <= each <= "\udfff"), None)
    if surrogate is not None:
        return surrogate
    readings = [
        duckdb.tokenize(sql.translate({ord(each): fill * size for each, size in suspects.items()}))
        for fill in _REPLACEMENTS
    ]
    if readings[0] == readings[1] == readings[2]:
        return None
    return next(each for each in sql if each in suspects)


def _is_plain(character: str) -> bool:
    if character.isascii():
        return character.isprintable() or character in "\t\n\r"
    return is_name_character(character)
