"""How the guard read texts before it read them raw, kept to be compared with: see test_reading.py.

It turned 47 code points into spaces first, of which DuckDB takes 18 for spaces, ended tokens by
patterns, and took EXPLAIN's options as they came.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import duckdb

from chronoduck.sql.explaining import Explained
from chronoduck.sql.tokens import Token, closing, span_text

_SPACES = re.compile(
    "[\u0085\u00a0\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]"
)
_WORD = re.compile(rb"[\w$\x80-\xff]+")
_QUOTED = re.compile(rb'"((?:[^"]|"")*)"?')
_STRING = re.compile(rb"(?:[eExXbBuU]&?)?'((?:[^']|'')*)'?|\$(\w*)\$(.*?)\$\2\$", re.DOTALL)
_NUMBER = re.compile(rb"[\w.]+")
_OPERATOR = re.compile(rb"->>|->|::|:=|=>|\|\||<=|>=|<>|!=|\*\*|[^\s\w]")
_KINDS = duckdb.token_type
_EXPLAIN_OPTIONS = frozenset({"analyze", "analyse", "format", "verbose", "settings"})


def normalized(sql: str) -> str:
    return sql if sql.isascii() else _SPACES.sub(" ", sql)


def read_tokens(sql: str) -> list[Token]:
    data = sql.encode(errors="replace")
    found = duckdb.tokenize(sql)
    ends = [start for start, _ in found[1:]]
    ends.append(len(data))
    return [
        Token(*_read(data, start, kind), start, end, end)
        for (start, kind), end in zip(found, ends, strict=True)
        if kind != _KINDS.comment
    ]


def _read(data: bytes, start: int, kind: object) -> tuple[str, str]:
    if kind == _KINDS.string_const:
        match = _STRING.match(data, start)
        if match is None:
            return "string", _text(data[start:])
        return "string", _text(match[1] if match[1] is not None else match[3])
    if kind == _KINDS.numeric_const:
        match = _NUMBER.match(data, start)
        return "number", _text(match[0]) if match else ""
    if data[start : start + 1] == b'"':
        match = _QUOTED.match(data, start)
        return "quoted", _text(match[1] if match else b"").replace('""', '"').lower()
    match = None if kind == _KINDS.operator else _WORD.match(data, start)
    if match is not None:
        return "word", _text(match[0]).lower()
    match = _OPERATOR.match(data, start)
    return "operator", _text(match[0]) if match else ""


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def read_explain(sql: str, tokens: Sequence[Token]) -> Explained:
    index, is_run = 1, False
    if index < len(tokens) and tokens[index].text == "(":
        following = tokens[index + 1].text if index + 1 < len(tokens) else ""
        if following in _EXPLAIN_OPTIONS:
            stop = closing(tokens, index)
            is_run = any(token.text in ("analyze", "analyse") for token in tokens[index:stop])
            index = stop + 1
    while index < len(tokens) and tokens[index].text in ("analyze", "analyse", "verbose"):
        is_run |= tokens[index].text != "verbose"
        index += 1
    return Explained(span_text(sql, tokens, index, len(tokens)), is_run)
