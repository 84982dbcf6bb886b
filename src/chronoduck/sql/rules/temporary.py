"""Temporary objects: they are gone with their connection, which the next statement does not get."""

from __future__ import annotations

from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.tokens import Token, read_tokens

__all__ = ["refuse_temporary"]

_TEMPORARY = frozenset({"temp", "temporary"})
_MODIFIERS = _TEMPORARY | frozenset("create or replace local global unlogged persistent".split())
_IF_NOT_EXISTS = ["if", "not", "exists"]


def refuse_temporary(kind: str, sql: str) -> None:
    """Refuse a statement that makes a temporary object, when it is sent alone.

    Raises:
        StatementRefusedError: it does.
    """
    if kind != "create" or "temp" not in sql.lower():
        return
    tokens = read_tokens(sql)
    texts = [token.text if token.is_name else token.kind for token in tokens]
    place = next((n for n, text in enumerate(texts) if text not in _MODIFIERS), len(texts))
    name = place + 1 + (texts[place : place + 2] == ["recursive", "view"])
    if texts[name : name + 3] == _IF_NOT_EXISTS:
        name += 3
    is_in_temp = texts[name : name + 1] == ["temp"] and _is_point(tokens, name + 1)
    if is_in_temp or not _TEMPORARY.isdisjoint(texts[:place]):
        made = texts[place] if place < len(texts) else "object"
        refuse(
            "temporary",
            f"a temporary {made} would be gone at once: every statement gets a clean connection",
        )


def _is_point(tokens: list[Token], index: int) -> bool:
    return index < len(tokens) and tokens[index].text == "."
