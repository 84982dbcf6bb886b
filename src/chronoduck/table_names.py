"""Names of tables as people write them: ``pages``, ``logs.pages``, ``"my.schema"."sales 2024"``."""

from __future__ import annotations

import string

__all__ = ["parse_table_name", "sql_name", "written_table_name"]

_FIRST_SIGNS = frozenset(string.ascii_letters + "_")
_SIGNS = _FIRST_SIGNS | frozenset(string.digits)
_NOT_BARE = frozenset(
    """
    all analyse analyze and anti any array as asc asof asymmetric at authorization binary both by case
    cast check collate collation column concurrently constraint create cross default deferrable desc
    describe distinct do else end except false fetch for foreign freeze from full glob group having ilike
    in initially inner intersect into is isnull join lambda lateral leading left like limit natural not
    notnull null offset on only or order outer overlaps pivot pivot_longer pivot_wider placing positional
    primary qualify references returning right select semi show similar some summarize symmetric table
    tablesample then to trailing true union unique unpack unpivot using variadic verbose when where window
    with
    """.split()  # noqa: SIM905 - a list of words is read as text
)
"""Words that are no names of tables or columns unless they are quoted."""


def sql_name(name: str) -> str:
    """Return a name as SQL must have it: in double quotes, if it needs them."""
    is_word = _SIGNS.issuperset(name) and name[:1] in _FIRST_SIGNS
    return (
        name if is_word and name.lower() not in _NOT_BARE else '"' + name.replace('"', '""') + '"'
    )


def parse_table_name(text: str) -> tuple[str, ...]:
    """Return the parts of a name; a part in double quotes may hold anything, and ``""`` for a quote.

    Raises:
        ValueError: a part is empty, a quote is not closed, or something follows one.
    """
    parts: list[str] = []
    rest = text
    while True:
        part, rest = _quoted(rest) if rest.startswith('"') else _plain(rest)
        if not part:
            raise ValueError("a part of the name is empty")
        parts.append(part)
        if not rest:
            return tuple(parts)
        rest = rest[1:]  # the point


def written_table_name(schema: str, name: str) -> str:
    """Return how a table is written so that ``parse_table_name`` finds it; without ``main``."""
    parts = [name] if schema == "main" else [schema, name]
    return ".".join(map(_written, parts))


def _written(part: str) -> str:
    if not part or set(part) & set('."') or part != part.strip():
        return '"' + part.replace('"', '""') + '"'
    return part


def _plain(text: str) -> tuple[str, str]:
    part, point, rest = text.partition(".")
    return part, point + rest


def _quoted(text: str) -> tuple[str, str]:
    part, start = "", 1
    while True:
        end = text.find('"', start)
        if end < 0:
            raise ValueError("a double quote is not closed")
        part += text[start:end]
        if text[end + 1 : end + 2] != '"':
            break
        part += '"'
        start = end + 2
    rest = text[end + 1 :]
    if rest and not rest.startswith("."):
        raise ValueError("something follows a name in double quotes")
    return part, rest
