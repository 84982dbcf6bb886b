"""Expressions that a table, an index or an ALTER computes by: no lambda stands in them.

Outside of queries DuckDB binds a column to its place among the columns, and a lambda's parameters to
places too, so it takes one for the other (1.5.5 and 2.0.1). In ``ALTER TABLE t ALTER n TYPE ... USING
list_transform([10, 20], lambda x: x * n)`` the column is read as ``x``: where the types agree, the values
are wrong without an error; where they do not, an internal error invalidates the database. On 1.5.5 an
index over a lambda invalidates it with the first DELETE.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.tokens import Token

__all__ = ["keeps_expressions", "refuse_stored_lambda"]

_KEEPERS = frozenset({"table", "index"})


def keeps_expressions(kind: str, tokens: Sequence[Token]) -> bool:
    """Whether a statement computes by expressions that are no queries: CREATE ... AS does not."""
    if kind == "alter":
        return True
    if kind != "create":
        return False
    depth = 0
    made = ""
    for token in tokens:
        if token.kind == "operator":
            depth += (token.text in "([{") - (token.text in ")]}")
        elif token.kind == "word" and not depth:
            if not made and token.text in ("table", "index", "view", "macro", "function", "type"):
                made = token.text
            elif token.text == "as":
                return False
    return made in _KEEPERS


def refuse_stored_lambda() -> NoReturn:
    """Raise the refusal.

    Raises:
        StatementRefusedError: always.
    """
    refuse(
        "stored-lambda", "DuckDB computes no lambda right in ALTER, CREATE INDEX and CREATE TABLE"
    )
