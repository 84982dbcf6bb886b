"""The masks as they were before they became linear: what they hid must stay hidden.

A text in which a telling word occurs (``password``, ``token``, ``ATTACH``, ...) loses every literal,
quoted name and comment: which of them is the secret cannot be known. In all other texts what looks
like a secret by its shape goes, wherever it stands. Fails closed: what DuckDB's tokenizer cannot read
is treated as a literal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import duckdb

__all__ = ["MASK", "mask_message", "mask_statement"]

MASK = "***"
_REMEMBERED_CHARACTERS = 5_000

_TELLING = re.compile(
    r"passw|passphrase|pwd|secret|token|credential|api_?key|access_?key|private_?key|key_?id"
    r"|encryption_?key|signature|authoriz|bearer|cookie|http_header|connection_?string|\bdsn\b"
    r"|\battach\b|postgres|mysql|\bkey['\"]?\s*(?:=|:)",
    re.IGNORECASE,
)
"""Words near which secrets stand."""
_ASSIGNED = re.compile(
    rf"((?:{_TELLING.pattern})\w*['\"]?\s*(?::=|=>|=|:)\s*)"
    r"('(?:[^']|'')*'?|\"[^\"]*\"?|[^\s,;)'\"]+)",
    re.IGNORECASE,
)
_SHAPES = re.compile(
    r"dak_[\w-]{6,}|cd_[\w-]{40,}"  # our own keys and admin tokens
    r"|(?<![A-Z])(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}"
    r"|(?<![A-Z])eyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?"  # JWT
    r"|AGE-SECRET-KEY-1[A-Z0-9]+"
    r"|(?<![A-Z])(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-)[\w-]{16,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|(?<=://)[^\s/@:'\"]*:[^\s'\"]+(?=@)",  # user and password of a URL
    re.IGNORECASE | re.DOTALL,
)
_LONG_RUN = re.compile(r"[A-Za-z0-9/+=_-]{32,}")
_AWS_SECRET_CHARACTERS = 40
_PIECES = re.compile(r"'\s*\n\s*'")
"""Literals on lines of their own are one literal."""
_PLAIN = re.compile(rb"(?:(?!--|/\*)[^\s'\"])+")
_GIVES = ("=", ":=", "=>", ":", "==")
_OPERATORS = ("", *"=:,;().[]{}*<>")


def mask_statement(sql: str) -> str:
    """Return the text with ``***`` in place of its secrets; also of a text that is no valid SQL."""
    return _remembered(sql) if len(sql) <= _REMEMBERED_CHARACTERS else _mask(sql)


def mask_message(text: str) -> str:
    """Return a sentence, which may repeat a piece of SQL, without what looks like a secret."""
    return _without_shapes(_ASSIGNED.sub(rf"\1{MASK}", text))


def _mask(sql: str) -> str:
    sql = sql.encode(errors="replace").decode()  # lone surrogates, which DuckDB refuses too
    mask = _without_telling if _TELLING.search(sql) else _without_literals_like_secrets
    try:
        return _without_shapes("".join(mask(_tokens(sql))))
    except (duckdb.Error, ValueError, RuntimeError):
        return MASK  # whatever the tokenizer finds next


_remembered = lru_cache(2048)(_mask)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    rest: str
    """What stands between it and the next one: space, a comment, or what is no SQL."""
    is_literal: bool = False
    is_keyword: bool = False

    @property
    def is_name_in_quotes(self) -> bool:
        return self.text.startswith('"')


def _tokens(sql: str) -> Iterator[_Token]:
    text = sql.encode()
    found = duckdb.tokenize(sql)
    ends = [*(start for start, _ in found), len(text)]
    yield _Token("", text[: ends[0]].decode())
    for (start, kind), end in zip(found, ends[1:], strict=True):
        span = text[start:end]
        is_literal = kind == duckdb.token_type.string_const
        if is_literal or span.startswith(b'"'):
            body = span.rstrip()  # a comment behind it belongs to it: it is masked with it
        else:
            plain = _PLAIN.match(span)
            body = plain.group() if plain else b""  # a comment, in DuckDB 2.0
        yield _Token(
            body.decode(errors="replace"),
            span[len(body) :].decode(errors="replace"),
            is_literal,
            kind == duckdb.token_type.keyword,
        )


def _without_literals_like_secrets(tokens: Iterator[_Token]) -> Iterator[str]:
    for token in tokens:
        yield f"'{MASK}'" if token.is_literal and _is_suspect(token.text) else token.text
        yield token.rest


def _is_suspect(literal: str) -> bool:
    """Whether it holds something of a secret's shape, or is written so that this cannot be told."""
    if literal[0] in "eE" and "\\" in literal:
        return True
    value = _PIECES.sub("", literal).replace("''", "'")
    return _without_shapes(value) != value


def _without_telling(tokens: Iterator[_Token]) -> Iterator[str]:
    """Leave keywords, names and numbers, but no bare word that a telling word is given."""
    is_expected = is_inside = is_given = False
    for token in tokens:
        text = token.text
        if token.is_literal:
            yield f"'{MASK}'"
        elif token.is_name_in_quotes:
            yield f'"{MASK}"'
        elif is_inside and text not in (",", ";", ")"):
            pass  # hunter2!x is three tokens
        elif is_expected and (is_given or not token.is_keyword) and text[:1] not in _OPERATORS:
            yield MASK
            is_inside = True
        else:
            yield text
        is_space = token.rest.isspace()
        is_inside = is_inside and not token.rest
        is_given = is_expected and text in _GIVES
        is_expected = is_given or _TELLING.search(text + "=") is not None
        yield token.rest if is_space or not token.rest else f" {MASK} "


def _without_shapes(text: str) -> str:
    return _LONG_RUN.sub(_mask_random, _SHAPES.sub(MASK, text))


def _mask_random(match: re.Match[str]) -> str:
    """Mask a run of characters that only a generator writes; hashes in hex and base32 stay."""
    run = match.group()
    is_path = "/" in run and len(run) != _AWS_SECRET_CHARACTERS
    is_mixed = any(map(str.islower, run)) and any(map(str.isupper, run))
    return MASK if is_mixed and not is_path and any(map(str.isdigit, run)) else run
