"""Calls of functions in a tree: which may be called where, and what macros stand for."""

from __future__ import annotations

import string
from typing import Any

from chronoduck.sql.definitions import Expansion
from chronoduck.sql.rules.bounds import arguments_of, has_named_arguments, literal_text
from chronoduck.sql.rules.functions import (
    ALLOWED_TABLE_FUNCTIONS,
    DENIED_IN_FROM,
    STORE_READERS,
    denial_of,
    is_known,
)
from chronoduck.sql.rules.instead import INSTEAD, SETTINGS_HINT
from chronoduck.sql.rules.known_settings import ALLOWED_SETTINGS
from chronoduck.sql.rules.lookup import Names
from chronoduck.sql.rules.refusals import refuse, refuse_again

__all__ = ["is_store_address", "judge_call"]

_SCHEME = "s3://"
_BUCKET_ENDS = frozenset(string.ascii_letters + string.digits)
_BUCKET = _BUCKET_ENDS | frozenset("._-")
_BUCKET_LENGTHS = range(3, 64)
"""Of names as Amazon allows them, today and long ago."""
_ENDS_ADDRESS = frozenset("?#\\\x7f") | frozenset(map(chr, range(0x20)))


def judge_call(
    name: str, node: dict[str, Any], names: Names, *, is_in_from: bool
) -> Expansion | None:
    """Return what a macro stands for, None of a function; ``name`` in lower case.

    Raises:
        StatementRefusedError: it may not be called, or not here.
    """
    expansion = names.macro(name)
    if names.is_trusted:
        return expansion
    if expansion is not None and expansion.refusal is not None:
        refuse_again(expansion.refusal)
    rule = denial_of(name)
    if rule == "sequence" and names.may_write:
        return expansion
    if is_in_from and names.may_read_stores and _reads_store(name, node):
        return expansion
    if rule is not None:
        refuse(rule, f"{name}() is not for statements of users", INSTEAD.get(name))
    if is_in_from:
        if name not in ALLOWED_TABLE_FUNCTIONS and not names.has_macro(name):
            refuse(
                DENIED_IN_FROM.get(name, "table-function"),
                f"{name}() may not be called in FROM",
                INSTEAD.get(name),
            )
    elif name == "current_setting":
        _judge_setting(node)
    elif (
        expansion is None
        and not is_known(name)
        and name not in ALLOWED_TABLE_FUNCTIONS
        and names.is_builtin(name)
    ):
        refuse("unclassified-function", f"nobody has judged {name}() yet")
    return expansion


def _reads_store(name: str, node: dict[str, Any]) -> bool:
    """Whether it is ``read_parquet('s3://...')``: one literal and nothing else."""
    arguments = arguments_of(node)
    if name not in STORE_READERS or len(arguments) != 1 or has_named_arguments(node):
        return False
    address = literal_text(arguments[0])
    return address is not None and is_store_address(address)


def is_store_address(text: str) -> bool:
    """Whether a literal names objects of the store that is set up, and can name no other.

    DuckDB sends signed requests to whatever an address makes it believe is the server: of Amazon's
    the bucket is part of the host's name, so a ``:``, ``#`` or ``@`` in it ends that name early, and
    what follows a ``?`` sets the server outright. A backslash may write each of them.
    """
    bucket, _, key = text.removeprefix(_SCHEME).partition("/")
    return (
        text.startswith(_SCHEME)
        and len(bucket) in _BUCKET_LENGTHS
        and _BUCKET.issuperset(bucket)
        and _BUCKET_ENDS.issuperset((bucket[0], bucket[-1]))
        and key != ""
        and _ENDS_ADDRESS.isdisjoint(key)
    )


def _judge_setting(node: dict[str, Any]) -> None:
    arguments = arguments_of(node)
    setting = literal_text(arguments[0]) if len(arguments) == 1 else None
    if setting is None or setting.lower() not in ALLOWED_SETTINGS:
        refuse(
            "settings",
            "current_setting() tells only harmless settings, named by a literal",
            hint=SETTINGS_HINT,
        )
