"""Statements' texts with their literals left out: what statements of one shape have in common."""

from __future__ import annotations

import hashlib
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
    "in values and or not select from join where as over on using by then when else exists having "
    "filter union all any".split()
)
_OPERATORS_BEFORE_SIGN = frozenset("( , [ = < > <= >= <> !=".split())
_NO_SPACE_AFTER = frozenset({"(", "[", ".", "::", "@"})
_NO_SPACE_BEFORE = frozenset(") ] , ; . :: [".split())

_DIGITS, _SPACES = frozenset("0123456789"), frozenset(" \t\n\r")
_TEXT, _NUMBER = "'x'", "0"
_LITERALS = frozenset({_TEXT, _NUMBER, "?"})
_COMMA = ", "
_ROW = ["(", _NUMBER, _COMMA, _NUMBER, ")"]
_THREE_ROWS = [*_ROW, _COMMA, *_ROW, _COMMA, *_ROW]


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
    # Reading every token costs 300 µs a text; most differ from one that is known in their literals
    # alone.
    pieces = _pieces(sql)
    return _remembered(sql if pieces is None else "".join(pieces))


_repeated = lru_cache(1024)(_normalize)


def _pieces(sql: str) -> list[str] | None:
    """Return the text in pieces, each literal as one of two and long lists of them as short ones.

    None where literals may end elsewhere: escapes, dollar quotes, comments in comments.
    """
    if "\\" in sql or _has_dollar_quotes(sql):
        return None
    pieces = [""]
    at, size = 0, len(sql)
    while at < size:
        character = sql[at]
        end = at + 1
        if character in _DIGITS and not pieces[-1].endswith("."):
            end = _number_end(sql, end)
            if pieces[-1] in ("+", "-") and pieces[-2] in ("(", _COMMA, "["):
                pieces.pop()
            pieces.append(_NUMBER)
        elif _is_word(character) or character == "$":
            end = _word_end(sql, end)
            is_parameter = character == "$" and end > at + 1
            pieces.append(_NUMBER if is_parameter else sql[at:end])
        elif character == "'" or character == '"':
            end = _closed(sql, at)
            if end < 0:
                return None
            pieces.append(_TEXT if character == "'" else sql[at:end])
        elif character in _SPACES or sql.startswith(("--", "/*"), at):
            end = _space_end(sql, at)
            if end < 0 or "/*" in sql[at + 2 : end]:
                return None
            if pieces[-1] in (" ", "\n"):
                pieces.pop()
            if pieces[-1] not in ("(", _COMMA):
                pieces.append("\n" if "\n" in sql[at:end] else " ")
        else:
            _add_mark(pieces, character)
        at = end
    return pieces


def _add_mark(pieces: list[str], mark: str) -> None:
    """Add a mark; where it ends a list of literals, leave two of them, and of rows of them two."""
    if mark not in ",)]":
        pieces.append(mark)
        return
    if pieces[-1] in (" ", "\n"):
        pieces.pop()
    if pieces[-1].lower() in _CONSTANTS and pieces[-2] in ("(", _COMMA) and mark != "]":
        pieces[-1] = _NUMBER
    if (
        len(pieces) > 3
        and pieces[-2] == _COMMA
        and pieces[-4] in ("(", _COMMA, "[")
        and _LITERALS.issuperset((pieces[-1], pieces[-3]))
    ):
        pieces[-3] = pieces[-1] = _NUMBER
        if pieces[-4] == _COMMA and pieces[-5] in _LITERALS:
            del pieces[-2:]
    pieces.append(_COMMA if mark == "," else mark)
    if mark == ")" and pieces[-len(_THREE_ROWS) :] == _THREE_ROWS:
        del pieces[-len(_ROW) - 1 :]


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_" or character > "\x7f"


def _has_dollar_quotes(sql: str) -> bool:
    return any(all(map(_is_word, part)) for part in sql.split("$")[1:-1])


def _closed(sql: str, start: int) -> int:
    """Return where the quotes that begin at ``start`` end, doubled ones left out; -1: nowhere."""
    quote, at = sql[start], start + 1
    while (at := sql.find(quote, at)) >= 0 and sql.startswith(quote, at + 1):
        at += 2
    return at + 1 if at >= 0 else -1


def _space_end(sql: str, start: int) -> int:
    """Return where a run of spaces, or one comment, ends; -1: nowhere."""
    if sql[start] in _SPACES:
        while start < len(sql) and sql[start] in _SPACES:
            start += 1
        return start
    if sql[start] == "-":
        return sql.find("\n", start) + 1 or len(sql)
    found = sql.find("*/", start + 2)
    return found + 2 if found >= 0 else -1


def _word_end(sql: str, at: int) -> int:
    while at < len(sql) and (sql[at].isalnum() or sql[at] == "_" or sql[at] > "\x7f"):
        at += 1
    return at


def _number_end(sql: str, at: int) -> int:
    """Return where a number ends that begins before ``at``."""
    at = _word_end(sql, at)
    while sql[at : at + 1] == "." or (
        sql[at : at + 1] in ("+", "-") and sql[at - 1] in "eE" and sql[at + 1 : at + 2] in _DIGITS
    ):
        at = _word_end(sql, at + 1)
    return at


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
