"""SQL cut into literals, quoted names, comments and what stands between them.

Its own reader and not DuckDB's tokenizer: that one needs quadratic time for some texts in version 1.5,
and what a text is to it is not what it is to the parser. Here a text that two readers could take
differently (``Unclear``) is hidden as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from chronoduck.sql.masking.runs import Runs

__all__ = ["Kind", "Piece", "UnclearError", "pieces_of", "value_of"]

_PLAIN = Runs(lambda sign: sign not in "'\"-/$")
"""What begins neither a literal nor a name in quotes nor a comment."""
_PAIRS = {"-": "--", "/": "/*"}
_PREFIXES = frozenset("eExXbBnN&")


class Kind(Enum):
    """What a piece is."""

    LITERAL = "literal"
    NAME = "name in quotes"
    COMMENT = "comment"
    CODE = "code"


class UnclearError(ValueError):
    """Two readers could disagree where a literal or a comment ends."""


class Piece(NamedTuple):
    """One piece; the pieces' texts in turn are the whole text."""

    kind: Kind
    text: str
    has_escapes: bool = False


def pieces_of(sql: str) -> Iterator[Piece]:
    """Yield the pieces of the text.

    Raises:
        UnclearError: two readers could cut the text differently.
    """
    plain = _PLAIN.of(sql)
    done = at = 0  # what is before `done` was yielded; what is before `at` was looked at
    while (start := plain.end(at)) < len(sql):
        mark = sql[start]
        if mark in _PAIRS and not sql.startswith(_PAIRS[mark], start):
            at = start + 1
            continue
        piece, first = _piece_at(sql, start, mark, done)
        if piece is None:
            at = first
            continue
        if first > done:
            yield Piece(Kind.CODE, sql[done:first])
        yield piece
        done = at = first + len(piece.text)
    if done < len(sql):
        yield Piece(Kind.CODE, sql[done:])


def value_of(literal: str) -> str:
    """Return what stands in a literal's quotes, as far as this can be told without escapes."""
    if literal.startswith("$"):
        tag = literal[: literal.index("$", 1) + 1]
        return literal[len(tag) :].removesuffix(tag)
    return literal.partition("'")[2].removesuffix("'").replace("''", "'")


def _piece_at(sql: str, start: int, mark: str, done: int) -> tuple[Piece | None, int]:
    """Return the piece that the mark begins and where it begins; or None and where to look on."""
    if mark == "'":
        return _quoted(sql, start, done)
    if mark == '"':
        end = _closed(sql, '"', start + 1)
        return Piece(Kind.NAME, sql[start:end]), start
    if mark == "-":
        return Piece(Kind.COMMENT, sql[start : _line_end(sql, start)]), start
    if mark == "/":
        return Piece(Kind.COMMENT, sql[start : _comment_end(sql, start)]), start
    return _in_dollars(sql, start, done)


def _quoted(sql: str, start: int, done: int) -> tuple[Piece, int]:
    before = sql[start - 1] if start > done else ""
    if before not in _PREFIXES:
        end = _closed(sql, "'", start + 1)
        return Piece(Kind.LITERAL, sql[start:end]), start
    first = start - 1
    if before == "&" and first > done and sql[first - 1] in "uU":
        first -= 1
    elif before == "&":
        first = start
    outside = sql[first - 1] if first > done else ""
    is_word = outside.isascii() and (outside.isalnum() or outside in ("_", "$")) and outside != ""
    if is_word:
        first = start
    plain = _closed(sql, "'", start + 1)
    is_escaped = first < start and before in "eE"
    end = _closed_with_escapes(sql, start + 1) if is_escaped else plain
    if end != plain and outside and not outside.isascii():
        raise UnclearError  # a space to one reader, a letter of a name to another
    text = sql[first:end]
    has_escapes = first < start and before in "eE&" and "\\" in text
    return Piece(Kind.LITERAL, text, has_escapes), first


def _closed(sql: str, quote: str, at: int) -> int:
    """Return where a quoted text ends, behind its quote; two quotes are one of its characters."""
    while True:
        end = sql.find(quote, at)
        if end < 0:
            return len(sql)
        if sql[end + 1 : end + 2] != quote:
            return end + 1
        at = end + 2


def _closed_with_escapes(sql: str, at: int) -> int:
    escape = sql.find("\\", at)
    while True:
        end = sql.find("'", at)
        if end < 0:
            return len(sql)
        while 0 <= escape < at:
            escape = sql.find("\\", at)
        if 0 <= escape < end:
            at = escape + 2
            continue
        if sql[end + 1 : end + 2] != "'":
            return end + 1
        at = end + 2


def _line_end(sql: str, start: int) -> int:
    end = sql.find("\n", start)
    end = len(sql) if end < 0 else end
    early = sql.find("\r", start, end)
    if 0 <= early < end - 1:
        raise UnclearError  # the end of a line to one reader
    return end


def _comment_end(sql: str, start: int) -> int:
    """Return where a comment ends, with the comments in it; the end of the text if it has no end."""
    depth, at = 1, start + 2
    opened, closed = sql.find("/*", at), sql.find("*/", at)
    while depth:
        if 0 <= opened < at:
            opened = sql.find("/*", at)
        if 0 <= closed < at:
            closed = sql.find("*/", at)
        if closed < 0:
            return len(sql)
        if 0 <= opened < closed:
            depth, at = depth + 1, opened + 2
        else:
            depth, at = depth - 1, closed + 2
    return at


def _in_dollars(sql: str, start: int, done: int) -> tuple[Piece | None, int]:
    before = sql[start - 1] if start > done else ""
    if before and before.isascii() and (before.isalnum() or before in ("_", "$")):
        return None, start + 1
    tag_end = _tag_end(sql, start + 1)
    if sql[tag_end : tag_end + 1] != "$" or sql[start + 1 : start + 2].isdigit():
        return None, start + 1
    if before and not before.isascii():
        raise UnclearError
    tag = sql[start : tag_end + 1]
    end = sql.find(tag, tag_end + 1)
    end = len(sql) if end < 0 else end + len(tag)
    return Piece(Kind.LITERAL, sql[start:end]), start


def _tag_end(sql: str, at: int) -> int:
    while at < len(sql) and (sql[at].isalnum() or sql[at] == "_" or not sql[at].isascii()):
        at += 1
    return at
