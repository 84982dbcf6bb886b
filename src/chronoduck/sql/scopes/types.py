"""Names of types as DuckDB writes them, without the values that they list."""

from __future__ import annotations

__all__ = ["without_enums"]

_ENUM = "ENUM("


def without_enums(kind: str) -> str:
    """Return the type with VARCHAR for each ENUM in it, at any depth.

    What stands in double quotes is the name of a field, whatever it looks like.
    """
    parts: list[str] = []
    done = at = 0
    while at < len(kind):
        if kind[at] == '"':
            at = _closed(kind, '"', at)
        elif kind.startswith(_ENUM, at) and not _is_part(kind, at):
            parts += (kind[done:at], "VARCHAR")
            done = at = _end_of_values(kind, at + len(_ENUM))
        else:
            at += 1
    return "".join((*parts, kind[done:]))


def _is_part(kind: str, at: int) -> bool:
    return at > 0 and (kind[at - 1].isalnum() or kind[at - 1] == "_")


def _end_of_values(kind: str, at: int) -> int:
    """Return the place behind the bracket that ends a list of values."""
    while at < len(kind) and kind[at] != ")":
        at = _closed(kind, "'", at) if kind[at] == "'" else at + 1
    return at + 1


def _closed(kind: str, quote: str, at: int) -> int:
    """Return the place behind what begins with a quote; two quotes are one of its characters."""
    while True:
        end = kind.find(quote, at + 1)
        if end < 0:
            return len(kind)
        if kind[end + 1 : end + 2] != quote:
            return end + 1
        at = end + 1
