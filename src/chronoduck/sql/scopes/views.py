"""From a user's view, as DuckDB stores it, to the SELECT behind it."""

from __future__ import annotations

from collections.abc import Sequence

from chronoduck.sql.tokens import Token, closing, has_gaps, read_tokens, span_text

__all__ = ["body_of"]


def body_of(sql: str) -> str | None:
    """Return the SELECT of a ``CREATE VIEW``; None when it is not of that form."""
    tokens = read_tokens(sql)
    if has_gaps(sql, tokens):
        return None
    words = [token.text if token.kind == "word" else "" for token in tokens]
    index = 3 if words[1:3] == ["or", "replace"] else 1
    if words[:1] != ["create"] or words[index : index + 1] != ["view"]:
        return None
    index = _behind_name(tokens, index + 1)
    if index < len(tokens) and tokens[index].text == "(":
        index = closing(tokens, index) + 1
    if words[index : index + 1] != ["as"]:
        return None
    return span_text(sql, tokens, index + 1, len(tokens)).strip().removesuffix(";")


def _behind_name(tokens: Sequence[Token], index: int) -> int:
    """Return the index behind a name with at most two points in it."""
    for _ in range(2):
        if index + 1 < len(tokens) and tokens[index + 1].text == ".":
            index += 2
    return index + 1
