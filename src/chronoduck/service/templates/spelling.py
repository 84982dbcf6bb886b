"""The nearest known word for a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``, did you mean 'limit'?`` for a misspelt word, or nothing."""
    close = difflib.get_close_matches(word[:60].lower(), list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""
