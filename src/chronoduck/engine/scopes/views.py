"""From a user's view, as DuckDB stores it, to the SELECT behind it."""

from __future__ import annotations

import re

__all__ = ["body_of"]

_NAME = r'(?:"(?:[^"]|"")*"|[^\s".(),;]+)'
_HEAD = re.compile(
    rf"\s*CREATE\s+(?:OR\s+REPLACE\s+)?VIEW\s+{_NAME}(?:\.{_NAME}){{0,2}}"
    rf"(?:\s*\(\s*{_NAME}(?:\s*,\s*{_NAME})*\s*\))?\s+AS\s+",
    re.IGNORECASE,
)


def body_of(sql: str) -> str | None:
    """Return the SELECT of a ``CREATE VIEW``; None when it is not of that form."""
    head = _HEAD.match(sql)
    return None if head is None else sql[head.end() :].strip().removesuffix(";")
