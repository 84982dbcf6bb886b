"""Kinds of statements: which role may send which."""

from __future__ import annotations

from collections.abc import Sequence

from chronoduck.principals import Role
from chronoduck.sql.rules.instead import KINDS_INSTEAD, NOBODYS, pragma_hint
from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.tokens import Token

__all__ = ["KNOWN_KINDS", "READS", "judge_kind", "judge_query_log", "may_write"]

READS = frozenset({"select", "explain"})
_WRITES = READS | {"insert", "update", "delete", "merge_into", "create", "alter", "drop"}
_OPERATES = _WRITES | {"checkpoint", "vacuum"}
_KINDS = {
    Role.VIEWER: frozenset[str](),
    Role.ANALYST: READS,
    Role.WRITER: _WRITES,
    Role.ADMIN: _OPERATES,
}
_RULES = {
    "copy": "copy",
    "export": "copy",
    "copy_database": "copy",
    "import": "import",
    "attach": "attach",
    "detach": "attach",
    "load": "extension",
    "update_extensions": "extension",
    "set": "settings",
    "variable_set": "settings",
    "pragma": "settings",
    "prepare": "prepared",
    "execute": "prepared",
    "transaction": "transaction",
    "call": "statement-kind",
    "create_func": "statement-kind",
    "extension": "statement-kind",
    "invalid": "statement-kind",
    "logical_plan": "statement-kind",
    "relation": "statement-kind",
    "analyze": "statement-kind",
    "multi": "statement-kind",
}
"""Kinds that nobody sends: their own rule and hint.

DuckDB 2.0 has kinds without a name in Python (DISCONNECT, CREATE EXTERNAL RESOURCE); the parser
refuses them before.
"""

KNOWN_KINDS = _OPERATES | _RULES.keys()
"""Kinds that somebody has looked at; others are refused as well."""

_OBJECTS = frozenset(
    "table view index sequence type macro function schema recursive column".split()
)
_MODIFIERS = frozenset(
    "create drop alter comment on or replace temp temporary local global unlogged persistent unique "
    "materialized".split()
)


def may_write(role: Role) -> bool:
    """Whether the role changes data."""
    return role.includes(Role.WRITER)


def judge_kind(kind: str, tokens: Sequence[Token], role: Role) -> None:
    """Refuse a kind of statement that the role may not send, or that nobody sends.

    Raises:
        StatementRefusedError: it is not for this role.
    """
    if kind not in _OPERATES:
        rule = _RULES.get(kind, "statement-kind")
        hint = KINDS_INSTEAD.get(kind, NOBODYS if rule == "statement-kind" else None)
        if kind == "pragma" and len(tokens) > 1:
            hint = pragma_hint(tokens[1].text)
        refuse(rule, f"{kind.upper().replace('_', ' ')} is not run for anybody over HTTP", hint)
    if role is Role.VIEWER:
        refuse("role", "a viewer runs templates and no statements of their own")
    if kind not in _KINDS[role]:
        refuse("statement-kind", f"the role {role} may not run {kind.upper().replace('_', ' ')}")
    if kind in ("create", "alter", "drop"):
        _judge_object(kind, tokens)
    elif kind == "checkpoint" and (tokens[0].text != "checkpoint" or len(tokens) > 3):
        refuse("checkpoint", "CHECKPOINT is run as a statement of its own")


def judge_query_log(role: Role) -> None:
    """Refuse a statement that reads the query log, which holds everybody's statements.

    Raises:
        StatementRefusedError: it is not an admin's.
    """
    if role is not Role.ADMIN:
        refuse("query-log", "only an admin may read the query log")


def _judge_object(kind: str, tokens: Sequence[Token]) -> None:
    """Refuse to create, alter or drop anything but what belongs to the data."""
    for token in tokens:
        if token.kind == "word" and token.text in _MODIFIERS:
            continue
        if token.kind == "word" and token.text in _OBJECTS:
            _refuse_literal_names(kind, token.text, tokens)
            return
        if token.text == "secret":
            refuse("secrets", "secrets belong to the service")
        refuse(
            "statement-kind",
            f"{kind.upper()} {token.text.upper()[:30]} is not run for anybody",
            NOBODYS,
        )
    refuse("unreadable", "the statement names nothing")


def _refuse_literal_names(kind: str, made: str, tokens: Sequence[Token]) -> None:
    """Refuse a literal where DuckDB 2.0 takes one for a name: ``DROP SCHEMA 'x'``."""
    if (kind == "drop" or made == "schema") and any(token.kind == "string" for token in tokens):
        refuse(
            "unreadable",
            "the statement names something by a literal",
            "Write names in double quotes.",
        )
