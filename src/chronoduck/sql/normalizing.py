"""Statements' texts with their literals left out: what statements of one shape have in common."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache

import duckdb

from chronoduck.sql.masking import MASK, mask_statement
from chronoduck.sql.tokens import Token, read_tokens

__all__ = ["NORMALIZED_CHARACTERS", "fingerprint", "normalize_statement"]

NORMALIZED_CHARACTERS = 4_000
"""Of a longer text only the beginning is looked at: the long ones are bulk inserts."""
_REPEATED_CHARACTERS = 1_000
"""Texts up to here are remembered as they are, too."""
_SHOWN_CHARACTERS = 2_000
_HIDDEN = "chronoduck_masked_word"
"""Stands for the mask while there are tokens: ``***`` would be three of them."""
_VALUE, _VALUES, _ROWS = "?", "?, ...", "(?, ...), ..."
_CONSTANTS = frozenset({"null", "true", "false", "default"})
_WORDS_BEFORE_BRACKET = frozenset(
    (
        *(
            "in",
            "values",
            "and",
            "or",
            "not",
            "select",
            "from",
            "join",
            "where",
            "as",
            "over",
            "on",
        ),
        *(
            "using",
            "by",
            "then",
            "when",
            "else",
            "exists",
            "having",
            "filter",
            "union",
            "all",
            "any",
        ),
    )
)
_OPERATORS_BEFORE_SIGN = frozenset({"(", ",", "[", "=", "<", ">", "<=", ">=", "<>", "!="})
_NO_SPACE_AFTER = frozenset({"(", "[", ".", "::", "@"})
_NO_SPACE_BEFORE = frozenset({")", "]", ",", ";", ".", "::", "["})

# Reading every token costs 300 µs a text; most differ from one that is known in their literals alone.
_UNUSUAL = re.compile(r"\$\w*\$|[eE]'[^']*\\")
"""Literals that end where ``_LITERALS`` does not see it."""
_LITERALS = re.compile(
    r"""("(?:[^"]|"")*")|('(?:[^']|'')*')|--[^\n]*|/\*(?:(?!/\*|\*/).)*\*/"""
    r"""|(?<![\w.])\d[\w.]*(?:(?<=[eE])[+-]\d+)?|\$\w+""",
    re.DOTALL,
)
_CONSTANT = r"(?:[+-]?0|'x'|\?|null|true|false|default)"
_LIST = re.compile(rf"(?<=[(,\[])\s*{_CONSTANT}(?:\s*,\s*{_CONSTANT})+(?=\s*[),\]])", re.IGNORECASE)
_ROW_LIST = re.compile(r"\(0, 0\s*\)(?:\s*,\s*\(0, 0\s*\))+")


def normalize_statement(sql: str) -> str:
    """Return the text in lower case on one line, with ``?`` for literals and parameters.

    Lists of literals are ``?, ...`` and rows of them ``(?, ...), ...`` whatever their number; comments
    are gone, and what looks like a secret is ``***``. Also of a text that is no valid SQL. 8 µs for
    a text that differs from a known one in its literals, 300 µs for a new one.
    """
    return _repeated(sql) if len(sql) <= _REPEATED_CHARACTERS else _normalize(sql)


def _normalize(sql: str) -> str:
    if len(sql) > NORMALIZED_CHARACTERS:
        sql = sql[:NORMALIZED_CHARACTERS]
        sql = sql[: sql.rfind("),") + 1] or sql
    if _UNUSUAL.search(sql):
        return _remembered(sql)
    reduced = _LITERALS.sub(_reduced, sql)
    if "/*" in reduced:  # a comment in a comment: what seems to be a quote may be none
        return _remembered(sql)
    return _remembered(_ROW_LIST.sub("(0, 0), (0, 0)", _LIST.sub("0, 0", reduced)))


_repeated = lru_cache(1024)(_normalize)


def _reduced(match: re.Match[str]) -> str:
    name, text = match.groups()
    if name is not None:
        return name
    if text is not None:
        return "'x'"
    return " " if match[0].startswith(("--", "/*")) else "0"


@lru_cache(2048)
def fingerprint(normalized_text: str) -> str:
    """Return 16 hex digits for a normalized text."""
    return hashlib.sha256(normalized_text.encode(errors="replace")).hexdigest()[:16]


@lru_cache(2048)
def _remembered(sql: str) -> str:
    if not sql.strip():
        return ""
    hidden = mask_statement(sql).replace(MASK, _HIDDEN)
    try:
        tokens = read_tokens(hidden)
    except (duckdb.Error, ValueError, RuntimeError):
        return MASK  # whatever the tokenizer finds next
    text = _joined(_without_repetition(list(_words(tokens))))
    return text.replace(_HIDDEN, MASK)[:_SHOWN_CHARACTERS]


def _words(tokens: list[Token]) -> Iterator[str]:
    """Yield the tokens' texts, each literal, parameter and sign before a literal as one ``?``."""
    previous = ""
    index = 0
    while index < len(tokens):
        token = tokens[index]
        following = tokens[index + 1] if index + 1 < len(tokens) else None
        text = token.text
        if token.kind in ("string", "number"):
            text = _VALUE
            if following is not None and (following.kind, following.start) == (
                "word",
                token.start + 1,
            ):
                index += 1  # 0x1F is two tokens
        elif token.kind == "quoted":
            text = '"' + text.replace('"', '""') + '"'
        elif token.kind == "operator" and text == "$":
            text = _VALUE
            if following is not None and (following.is_name or following.kind == "number"):
                index += 1
        elif _is_sign(token, following, previous) or (text == ";" and following is None):
            index += 1
            continue
        elif token.kind == "word" and text in _CONSTANTS and previous in ("(", ","):
            text = _VALUE if following is not None and following.text in (",", ")") else text
        yield text
        previous = text
        index += 1


def _is_sign(token: Token, following: Token | None, previous: str) -> bool:
    return (
        token.kind == "operator"
        and token.text in ("-", "+")
        and following is not None
        and following.kind == "number"
        and (previous in _OPERATORS_BEFORE_SIGN or previous in _WORDS_BEFORE_BRACKET)
    )


def _without_repetition(words: list[str]) -> list[str]:
    """Return the words with lists of literals, and rows of such lists, written once."""
    lists = _folded(words, [_VALUE], _VALUES)
    rows = _folded(lists, ["(", _VALUES, ")"], _ROWS)
    return _folded(rows, ["(", _VALUE, ")"], _ROWS)


def _folded(words: list[str], item: list[str], shown: str) -> list[str]:
    """Return the words with ``shown`` where the item stands twice or more with commas between."""
    width = len(item)
    kept: list[str] = []
    index = 0
    while index < len(words):
        end = index
        if words[index : index + width] == item:
            end = index + width
            while words[end : end + 1] == [","] and words[end + 1 : end + 1 + width] == item:
                end += 1 + width
        if end > index + width:
            kept.append(shown)
            index = end
        else:
            kept.append(words[index])
            index += 1
    return kept


def _joined(words: list[str]) -> str:
    parts: list[str] = []
    previous = "("
    for word in words:
        is_call = word == "(" and (
            previous.endswith('"')
            or (previous[-1:].isalnum() and previous not in _WORDS_BEFORE_BRACKET)
        )
        if word not in _NO_SPACE_BEFORE and previous not in _NO_SPACE_AFTER and not is_call:
            parts.append(" ")
        parts.append(word)
        previous = word
    return "".join(parts)
