"""Pieces of DuckDB's messages, found by plain search.

A message repeats what the user wrote: a literal, a name, a value of a row. So it may be long and of any
form, and only methods whose cost grows with its length as the length itself may read it.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["before_any", "without_stack_trace"]

_STACK_TRACES = ("Stack Trace:", "This error signals an assertion failure")


def before_any(text: str, marks: Iterable[str]) -> str:
    """Return what stands before the first of the marks, without the space at its end."""
    found = [at for mark in marks if (at := text.find(mark)) >= 0]
    return text[: min(found)].rstrip() if found else text


def without_stack_trace(text: str) -> str:
    """Return DuckDB's message without the stack trace behind it, and without space around it."""
    return before_any(text, _STACK_TRACES).strip()
