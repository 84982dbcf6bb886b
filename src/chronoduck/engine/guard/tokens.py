"""A statement's words, by DuckDB's own tokenizer: works for every kind of statement."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import duckdb

__all__ = ["Token", "closing", "normalized", "read_tokens", "span_text"]

# DuckDB takes other scripts' spaces for spaces before it parses, but not before it tokenizes.
_SPACES = re.compile(
    "[\u0085\u00a0\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]"
)
_WORD = re.compile(rb"[\w$\x80-\xff]+")
_QUOTED = re.compile(rb'"((?:[^"]|"")*)"?')
_STRING = re.compile(rb"(?:[eExXbBuU]&?)?'((?:[^']|'')*)'?|\$(\w*)\$(.*?)\$\2\$", re.DOTALL)
_NUMBER = re.compile(rb"[\w.]+")
_OPERATOR = re.compile(rb"->>|->|::|:=|=>|\|\||<=|>=|<>|!=|\*\*|[^\s\w]")
_COMMENT = duckdb.token_type.comment
_STRING_KIND = duckdb.token_type.string_const
_NUMBER_KIND = duckdb.token_type.numeric_const
_OPERATOR_KIND = duckdb.token_type.operator


class Token(NamedTuple):
    """One word of a statement; offsets in bytes of the normalized text.

    The end is where the next one begins, so that spaces and comments belong to the word before.

    ``kind``: ``word``, ``quoted`` (an identifier in quotes), ``string``, ``number``, ``operator``.
    ``text``: words and quoted names in lower case and without quotes, a string's content.
    """

    kind: str
    text: str
    start: int
    end: int

    @property
    def is_name(self) -> bool:
        """Whether it may be (part of) a name."""
        return self.kind in ("word", "quoted")


def normalized(sql: str) -> str:
    """Return the text with every kind of space as a space, as DuckDB's parser sees it."""
    return sql if sql.isascii() else _SPACES.sub(" ", sql)


def read_tokens(sql: str) -> list[Token]:
    """Return the tokens of a normalized text, comments left out."""
    data = sql.encode(errors="replace")
    found = duckdb.tokenize(sql)
    ends = [start for start, _ in found[1:]]
    ends.append(len(data))
    tokens = []
    for (start, kind), end in zip(found, ends, strict=True):
        if kind != _COMMENT:
            tokens.append(Token(*_read(data, start, kind), start, end))
    return tokens


def _read(data: bytes, start: int, kind: object) -> tuple[str, str]:
    if kind == _STRING_KIND:
        match = _STRING.match(data, start)
        if match is None:
            return "string", _text(data[start:])
        return "string", _text(match[1] if match[1] is not None else match[3])
    if kind == _NUMBER_KIND:
        match = _NUMBER.match(data, start)
        return "number", _text(match[0]) if match else ""
    if data[start : start + 1] == b'"':
        match = _QUOTED.match(data, start)
        assert match is not None  # noqa: S101 - the pattern matches a quote alone
        return "quoted", _text(match[1]).replace('""', '"').lower()
    match = None if kind == _OPERATOR_KIND else _WORD.match(data, start)
    if match is not None:
        return "word", _text(match[0]).lower()
    match = _OPERATOR.match(data, start)
    return "operator", _text(match[0]) if match else ""


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def closing(tokens: Sequence[Token], opening: int) -> int:
    """Return the index of the bracket that closes the one at ``opening``, or the number of tokens."""
    depth = 0
    for index in range(opening, len(tokens)):
        token = tokens[index]
        if token.kind != "operator":
            continue
        if token.text in "([{":
            depth += 1
        elif token.text in ")]}":
            depth -= 1
            if depth == 0:
                return index
    return len(tokens)


def span_text(sql: str, tokens: Sequence[Token], first: int, stop: int) -> str:
    """Return the text of tokens ``first`` up to, not including, ``stop``."""
    if first >= stop:
        return ""
    data = sql.encode(errors="replace")
    return data[tokens[first].start : tokens[stop - 1].end].decode(errors="replace")
