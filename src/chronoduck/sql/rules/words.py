"""Rules over a statement's words: they hold for every kind of statement, tree or not."""

from __future__ import annotations

from collections.abc import Sequence

from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.sql.rules.bounds import MAX_DEPTH, MAX_TERMS
from chronoduck.sql.rules.calls import is_store_address
from chronoduck.sql.rules.file_names import is_file_name
from chronoduck.sql.rules.functions import (
    ALLOWED_TABLE_FUNCTIONS,
    DEEP_READERS,
    DENIED_VIEWS,
    STORE_READERS,
    denial_of,
    is_known,
)
from chronoduck.sql.rules.instead import INSTEAD, SETTINGS_HINT
from chronoduck.sql.rules.known_settings import ALLOWED_SETTINGS
from chronoduck.sql.rules.lookup import Names
from chronoduck.sql.rules.refusals import (
    refuse,
    refuse_again,
    refuse_deep_reader,
    refuse_own_schema,
)
from chronoduck.sql.tokens import Token, closing

__all__ = ["judge_leftover", "judge_words"]

_NAMES_FOLLOW = frozenset(
    "into table view exists as references with recursive index update macro function type".split()
)
"""A name behind one of these and before a bracket is a table's, not a function's."""
_TABLES_FOLLOW = frozenset(
    "from join using into table update describe desc summarize show pivot unpivot truncate".split()
)
_ONLY_TABLES_FOLLOW = _TABLES_FOLLOW - {"from", "using", "table", "desc", "show", "update"}
_BEFORE_TABLE = frozenset("or replace temp temporary local global unlogged persistent".split())
_FROM_IN_CALLS = frozenset("extract trim substring overlay position date_part".split())
_LITERALS = frozenset({"string", "number"})
_BETWEEN_LITERALS = frozenset({",", "::", "json", "null"})
_REPEATING_WORDS = frozenset({"between", "for"})


def judge_words(tokens: Sequence[Token], names: Names, *, has_tree: bool) -> None:
    """Judge calls and, where no tree tells them, names of tables.

    Raises:
        StatementRefusedError: a function or a name is not for statements of users.
    """
    openers: list[int] = []
    for index, token in enumerate(tokens):
        if token.kind == "operator":
            if token.text == "(":
                openers.append(index)
            elif token.text == ")" and openers:
                openers.pop()
            continue
        following = tokens[index + 1] if index + 1 < len(tokens) else None
        if following is not None and following.text == "(" and following.kind == "operator":
            if token.is_name or token.kind == "string":
                _judge_call(tokens, index, names)
        elif token.is_name and token.text in DENIED_VIEWS and not has_tree:
            refuse(
                DENIED_VIEWS[token.text],
                f"{token.text} is not for statements of users",
                INSTEAD.get(token.text),
            )
        if token.kind == "word" and token.text == "copy":
            _judge_copy(tokens, index)
        if not has_tree and token.kind == "word" and token.text in _TABLES_FOLLOW:
            opener = openers[-1] if openers else None
            _judge_table(tokens, index, opener, names)


def _judge_copy(tokens: Sequence[Token], index: int) -> None:
    """Refuse ``(COPY ... TO ...)``: from DuckDB 2.0 on a CTE of any statement may be one."""
    if index and (tokens[index - 1].kind, tokens[index - 1].text) == ("operator", "("):
        inner = tokens[index + 1 : closing(tokens, index - 1)]
        if any(token.kind == "word" and token.text == "to" for token in inner):
            refuse("copy", "a CTE holds a COPY statement")


def _judge_call(tokens: Sequence[Token], index: int, names: Names) -> None:
    name = tokens[index].text
    if name in DEEP_READERS and not _is_definition(tokens, index):
        inner = tokens[index + 2 : closing(tokens, index + 1)]
        is_method = index > 0 and tokens[index - 1].text == "."
        if is_method or not all(
            token.kind in _LITERALS or token.text in _BETWEEN_LITERALS for token in inner
        ):
            refuse_deep_reader(name)
    expansion = names.macro(name)
    rule = denial_of(name)
    refusal = expansion.refusal if expansion is not None else None
    is_new = (
        rule is None
        and expansion is None
        and name not in ALLOWED_TABLE_FUNCTIONS
        and not is_known(name)
        and names.is_builtin(name)
    )
    if rule is None and refusal is None and not is_new and name != "current_setting":
        return
    if rule == "sequence" and names.may_write:
        _judge_sequence(tokens, index)
        return
    if names.may_read_stores and name in STORE_READERS and _names_a_store(tokens, index):
        return
    if _is_definition(tokens, index):
        return
    if refusal is not None:
        refuse_again(refusal)
    if name == "current_setting":
        argument = tokens[index + 2] if index + 2 < len(tokens) else None
        is_literal = argument is not None and argument.kind == "string"
        if not (is_literal and argument is not None and argument.text.lower() in ALLOWED_SETTINGS):
            refuse(
                "settings",
                "current_setting() tells only harmless settings, named by a literal",
                SETTINGS_HINT,
            )
        return
    if is_new:
        refuse("unclassified-function", f"nobody has judged {name}() yet")
    refuse(rule or "table-function", f"{name}() is not for statements of users", INSTEAD.get(name))


def _judge_sequence(tokens: Sequence[Token], index: int) -> None:
    """Refuse a sequence that is not named by one plain literal, or is the service's own."""
    name, following = tokens[index + 2 : index + 4] if len(tokens) > index + 3 else (None, None)
    if name is None or following is None or name.kind != "string" or "\\" in name.text:
        refuse("sequence", "a sequence is named by a plain literal")
    if following.text not in (")", ",", "::"):
        refuse("sequence", "the name of a sequence is not computed")
    if OWN_SCHEMA in name.text.lower():
        refuse_own_schema()


def _names_a_store(tokens: Sequence[Token], index: int) -> bool:
    """Whether a call has the address of objects in S3 as its one argument."""
    arguments = tokens[index + 2 : index + 4]
    return (
        len(arguments) == 2
        and arguments[0].kind == "string"
        and is_store_address(arguments[0].text)
        and (arguments[1].kind, arguments[1].text) == ("operator", ")")
    )


def _is_definition(tokens: Sequence[Token], index: int) -> bool:
    """Whether the name before the bracket is a table's, an alias or a CTE, with its columns."""
    before = index - 1
    while before > 0 and tokens[before].text == ".":
        before -= 2
    if before < 0:
        return False
    previous = tokens[before]
    if previous.kind == "word" and previous.text in _NAMES_FOLLOW:
        return True
    close = closing(tokens, index + 1)
    return (
        previous.text == ","
        and close + 2 < len(tokens)
        and tokens[close + 1].text == "as"
        and tokens[close + 2].text in ("(", "materialized", "not")
    )


def _judge_table(tokens: Sequence[Token], index: int, opener: int | None, names: Names) -> None:
    """Judge the name behind a word that tables follow."""
    word = tokens[index].text
    if word == "table" and _is_only_looked_up(tokens, index):
        return
    if word == "from":
        if index and tokens[index - 1].text == "distinct":
            return
        if opener is not None and opener and tokens[opener - 1].text in _FROM_IN_CALLS:
            return
    if index + 1 >= len(tokens):
        return
    token = tokens[index + 1]
    if token.kind == "string":
        if word in _ONLY_TABLES_FOLLOW or is_file_name([token.text]):
            refuse("files", f"{token.text[:100]!r} in place of a table would be read as a file")
        return
    path = []
    position = index + 1
    while position < len(tokens) and tokens[position].kind in ("word", "quoted", "string"):
        path.append(tokens[position].name or tokens[position].text)
        if position + 1 >= len(tokens) or tokens[position + 1].text != ".":
            break
        position += 2
    if path and is_file_name(path) and not names.is_table(path):
        refuse("files", f"{'.'.join(path)[:100]!r} in place of a table would be read as a file")


def _is_only_looked_up(tokens: Sequence[Token], index: int) -> bool:
    """Whether the word is that of CREATE TABLE, ALTER TABLE, DROP TABLE: DuckDB opens no file there."""
    before = [token.text for token in tokens[:index]]
    return bool(before) and (
        before in (["alter"], ["drop"], ["comment", "on"])
        or (before[0] == "create" and _BEFORE_TABLE.issuperset(before[1:]))
    )


def judge_leftover(tokens: Sequence[Token], covered: Sequence[bool], names: Names) -> None:
    """Count, in the parts of a statement that no tree tells, what repeats its operands.

    Raises:
        StatementRefusedError: there is so much of it that planning could take for ever.
    """
    repeating = terms = 0
    for index, token in enumerate(tokens):
        if index < len(covered) and covered[index]:
            continue
        if token.text in ("and", "or") and token.kind == "word":
            terms += 1
        if token.text == "->" or (token.kind == "word" and token.text in _REPEATING_WORDS):
            repeating += 1
        elif token.is_name and index + 1 < len(tokens) and tokens[index + 1].text == "(":
            expansion = names.macro(token.text)
            repeating += expansion is not None and expansion.copies > 1
    if repeating > MAX_DEPTH:
        refuse("nesting", f"more than {MAX_DEPTH} of ->, BETWEEN, NULLIF and macros in one place")
    if terms > MAX_TERMS:
        refuse("too-many-terms", f"more than {MAX_TERMS:,} terms of AND and OR")
