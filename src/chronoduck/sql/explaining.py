"""What an EXPLAIN explains, and whether it runs it: read by a list of options.

DuckDB ignores the argument of ANALYZE: ``(ANALYZE false)`` runs the statement, and 2.0 takes any
expression there. So an option that is not on the list, and an argument of ANALYZE, is a problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chronoduck.sql.tokens import Token, closing, span_text

__all__ = ["RUN_BY_EXPLAIN", "Explained", "read_explain"]

RUN_BY_EXPLAIN = frozenset({"select", "insert", "update", "delete", "merge_into"})
"""Kinds of statements that EXPLAIN ANALYZE may run."""

_ANALYZE = frozenset({"analyze", "analyse"})
_FORMATS = frozenset("text json html graphviz yaml mermaid".split())
_QUERY_BEGINS = frozenset(
    "( select with from values table pivot unpivot describe summarize".split()
)


class Explained(NamedTuple):
    """``text``: the statement behind EXPLAIN. ``problem``: why its options are not understood."""

    text: str
    is_run: bool
    problem: str | None = None


def read_explain(sql: str, tokens: Sequence[Token]) -> Explained:
    """Return what the EXPLAIN that ``tokens`` are of explains."""
    index, is_run = 1, False
    if _text_at(tokens, 1) == "(" and _text_at(tokens, 2) not in _QUERY_BEGINS:
        stop = closing(tokens, 1)
        options = _options(tokens[2:stop])
        problem = next(filter(None, map(_problem, options)), None)
        if problem is not None:
            return Explained("", is_run=True, problem=problem)
        is_run = any(option[0].text in _ANALYZE for option in options)
        index = stop + 1
    elif _text_at(tokens, 1) in _ANALYZE:
        index, is_run = 2, True
    return Explained(span_text(sql, tokens, index, len(tokens)), is_run)


def _text_at(tokens: Sequence[Token], index: int) -> str:
    return tokens[index].text if index < len(tokens) else ""


def _options(tokens: Sequence[Token]) -> list[list[Token]]:
    options: list[list[Token]] = [[]]
    for token in tokens:
        if (token.kind, token.text) == ("operator", ","):
            options.append([])
        else:
            options[-1].append(token)
    return options


def _problem(option: Sequence[Token]) -> str | None:
    if not option or not option[0].is_name:
        return "its options are not understood"
    name = option[0].text
    if name in _ANALYZE:
        return "ANALYZE takes no argument: DuckDB ignores it" if len(option) > 1 else None
    if name != "format":
        return f"{name[:30].upper()} is no option of it"
    if len(option) == 2 and option[1].kind in ("word", "quoted", "string"):
        return None if option[1].text.lower() in _FORMATS else "its format is not known"
    return "its format is not understood"
