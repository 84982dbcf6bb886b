"""Bounds of a text, counted in linear time before DuckDB's parser sees it.

What is counted here may be hidden from it, behind a quote in a comment, say. That costs an analyzer its
deadline and nothing else: the bounds keep honest mistakes from being punished like attacks, and keep
what is accepted cheap for the engine, which parses it again and holds the interpreter's lock meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

from chronoduck.sql.rules.bounds import MAX_STATEMENT_BYTES
from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.tokens import Token, closing, read_tokens

__all__ = ["MAX_BRACKETS", "MAX_GROUPING_SETS", "MAX_ITEMS", "MAX_WORDS", "check_text"]

MAX_BRACKETS = 500
"""How deep brackets nest."""
MAX_ITEMS = 20_000
"""Items of one list, in brackets or not."""
MAX_WORDS = 80_000
"""Words and signs, of a text that is not a bulk insert."""
MAX_GROUPING_SETS = 1_024
"""Of one GROUP BY: ROLLUP of 200 columns twice is 1.2 KB and makes 40,401 of them."""
MAX_GROUPED_COLUMNS = 50_000
"""Grouping sets times columns, of a whole statement."""

_STRUCTURE = b"()[]{},'\";"
_NO_STRUCTURE = bytes(set(range(256)) - set(_STRUCTURE))
_OPENING, _CLOSING = b"([{", b")]}"
_SIGNS = b"()[]{},;+-*/%<>=!|&^~.:?@#$'\""
_SPACED = bytes(0x20 if each in _SIGNS else each for each in range(256))
_SIGN_BYTES = bytes(set(range(256)) - set(_SIGNS))
_GROUPINGS = (b"rollup", b"cube", b"grouping")


def check_text(sql: str, *, may_be_bulk: bool) -> None:
    """Refuse a text that is longer, deeper or more than any that people write.

    ``may_be_bulk``: beyond 100 KB it is a bulk insert, or refused for its length by the guard.

    Raises:
        StatementRefusedError: a bound is passed.
    """
    data = sql.encode(errors="surrogatepass")
    if len(data) > MAX_STATEMENT_BYTES:
        if not may_be_bulk:
            refuse("too-long", f"{len(data):,} bytes are more than {MAX_STATEMENT_BYTES:,}")
        return
    outside = b" ".join(data.split(b"'")[::2])  # of literals, unless a comment has such a quote
    words = len(outside.translate(_SPACED).split()) + len(outside.translate(None, _SIGN_BYTES))
    if words > MAX_WORDS:
        refuse(
            "too-many-terms",
            f"the statement has about {words:,} words and signs; at most {MAX_WORDS:,} are read",
        )
    _check_lists(data.translate(None, _NO_STRUCTURE))
    lowered = data.lower()
    if any(word in lowered for word in _GROUPINGS):
        _check_grouping(read_tokens(sql))


def _check_lists(structure: bytes) -> None:
    """Look at brackets and commas outside of quotes."""
    quote = 0
    items = [1]
    for sign in structure:
        if quote:
            quote = 0 if sign == quote else quote
        elif sign in b"'\"":
            quote = sign
        elif sign == 0x2C:
            items[-1] += 1
            if items[-1] > MAX_ITEMS:
                refuse("too-many-terms", f"a list has more than {MAX_ITEMS:,} items")
        elif sign in _OPENING:
            items.append(1)
            if len(items) > MAX_BRACKETS:
                refuse("nesting", f"brackets are nested more than {MAX_BRACKETS} deep")
        elif sign in _CLOSING and len(items) > 1:
            items.pop()


def _check_grouping(tokens: Sequence[Token]) -> None:
    index, sets, columns = 0, 1, 0
    before = 0  # columns of all sets of the GROUP BYs before this one
    while index < len(tokens):
        if tokens[index].kind == "word" and tokens[index].text == "group":
            before, sets, columns = before + sets * columns, 1, 0
        found = _sets_at(tokens, index)
        if found is None:
            index += 1
            continue
        more, wide, index = found
        sets, columns = sets * more, columns + wide
        if sets > MAX_GROUPING_SETS or before + sets * columns > MAX_GROUPED_COLUMNS:
            refuse(
                "expansion",
                f"a GROUP BY makes more than {MAX_GROUPING_SETS:,} grouping sets, or all together have "
                f"more than {MAX_GROUPED_COLUMNS:,} columns",
                "Group by fewer columns, or name the sets you need: GROUPING SETS ((a), (a, b)).",
            )


def _sets_at(tokens: Sequence[Token], index: int) -> tuple[int, int, int] | None:
    """Return how many sets the ROLLUP, CUBE or GROUPING SETS here makes, its columns and its end."""
    word = tokens[index].text if tokens[index].kind == "word" else ""
    opening = index + 1
    if word == "grouping" and opening < len(tokens) and tokens[opening].text == "sets":
        opening += 1
    elif word not in ("rollup", "cube"):
        return None
    if opening >= len(tokens) or tokens[opening].text != "(":
        return None
    stop = closing(tokens, opening)
    items, sets, columns, depth = 1, 0, 1, 0
    at = opening + 1
    while at < stop:
        inner = _sets_at(tokens, at) if word == "grouping" and depth == 0 else None
        if inner is not None:
            sets, columns, at = sets + inner[0] - 1, columns + inner[1], inner[2]
            continue
        sign = tokens[at].text if tokens[at].kind == "operator" else ""
        depth += (sign in ("(", "[", "{")) - (sign in (")", "]", "}"))
        columns += sign == ","
        items += sign == "," and depth == 0
        at += 1
    if word == "rollup":
        return items + 1, columns, stop + 1
    if word == "cube":
        return 1 << min(items, 64), columns, stop + 1
    return sets + items, columns, stop + 1
