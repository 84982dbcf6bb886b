"""PIVOT without an IN list, which has no tree, as a PIVOT with one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chronoduck.sql.cutting import top_level
from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.tokens import Token

__all__ = ["has_pivot", "with_in_lists"]

_MAX_PIVOTS = 50
_WORDS = ("pivot", "pivot_wider")
_ENDS = frozenset(
    "using group order limit offset union intersect except where having qualify on join".split()
)


def has_pivot(tokens: Sequence[Token]) -> bool:
    """Whether the statement may hold a PIVOT."""
    return any(token.text in _WORDS for token in tokens)


def with_in_lists(sql: str, tokens: Sequence[Token]) -> str:
    """Return the text with an IN list for every PIVOT without one.

    DuckDB makes several statements of a PIVOT whose columns come from the data, and no tree.

    Raises:
        StatementRefusedError: it holds too many of them.
    """
    pivots = sum(token.kind == "word" and token.text in _WORDS for token in tokens)
    if pivots > _MAX_PIVOTS:  # each is looked at to its end: the square of them would be
        refuse(
            "expansion", f"the statement says PIVOT {pivots} times; at most {_MAX_PIVOTS} are read"
        )
    data = sql.encode(errors="replace")
    inserts: list[tuple[int, bytes]] = []
    for index, token in enumerate(tokens):
        if token.kind == "word" and token.text in _WORDS:
            for first, stop in _without_list(tokens, index):
                inserts.append((tokens[first].start, b"("))
                end = tokens[stop].start if stop < len(tokens) else tokens[-1].end
                inserts.append((end, b"\n) IN (NULL) "))
    parts, begin = [], 0
    for position, text in sorted(inserts):
        parts += [data[begin:position], text]
        begin = position
    parts.append(data[begin:])
    return b"".join(parts).decode(errors="replace")


def _without_list(tokens: Sequence[Token], pivot: int) -> Iterator[tuple[int, int]]:
    """Yield first and stop of every expression behind ON that has no IN."""
    end = _end_of_bracket(tokens, pivot)
    first = None
    has_list = False
    for index, token in top_level(tokens, pivot + 1, end):
        is_word = token.kind == "word"
        if first is None:
            if is_word and token.text == "on":
                first = index + 1
        elif (is_word and token.text in _ENDS) or token.text in (",", ";"):
            if not has_list:
                yield first, index
            first, has_list = index + 1, False
            if token.text != ",":
                return
        elif is_word and token.text == "in":
            has_list = True
    if first is not None and first < end and not has_list:
        yield first, end


def _end_of_bracket(tokens: Sequence[Token], first: int) -> int:
    """Return where the bracket around a token closes, or the number of tokens."""
    depth = 0
    for index in range(first, len(tokens)):
        token = tokens[index]
        if token.kind != "operator":
            continue
        if token.text in ("(", "[", "{"):
            depth += 1
        elif token.text in (")", "]", "}"):
            depth -= 1
            if depth < 0:
                return index
    return len(tokens)
