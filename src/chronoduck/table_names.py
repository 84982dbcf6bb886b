"""Names of tables as people write them: ``pages``, ``logs.pages``, ``"my.schema"."sales 2024"``."""

from __future__ import annotations

__all__ = ["parse_table_name", "written_table_name"]


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
