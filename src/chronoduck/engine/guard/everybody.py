"""What nobody may send, code in this process included: it would take the engine from everybody."""

from __future__ import annotations

import re

import duckdb

from chronoduck.engine.guard.known_settings import ALLOWED_PRAGMAS, ALLOWED_SETTINGS
from chronoduck.engine.guard.rules import refuse
from chronoduck.sql.tokens import read_tokens

__all__ = ["judge_for_everybody"]

_REFUSED = {
    "transaction": "transaction",
    "attach": "attach",
    "detach": "attach",
    "load": "extension",
}
_CHANGES_SETTINGS = frozenset({"set", "pragma", "call", "multi"})
_OWN_SETTINGS = re.compile(
    "profil|tracked_metrics|progress_bar|verif|optimizer|insertion_order|checkpoint_on_shutdown",
    re.IGNORECASE,
)
_OWN_FUNCTIONS = re.compile(
    r"\b(?:(?:en|dis)able_(?:logging|profiling)|truncate_duckdb_logs|duckdb_logs)\b", re.IGNORECASE
)
_OWN_NAMES = frozenset(
    "enable_logging disable_logging enable_profiling disable_profiling truncate_duckdb_logs "
    "duckdb_logs".split()
)
_RUN_TEXT = frozenset("query query_table json_execute_serialized_sql prepare execute".split())
"""Words of statements in which a string may be run."""
_IMPORT = re.compile(r"\bimport\b.*\bdatabase\b", re.IGNORECASE | re.DOTALL)
_WORD = re.compile(rb"\w+")
_PRAGMA = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*+PRAGMA\b", re.IGNORECASE | re.DOTALL)
_CHECKPOINT = re.compile(r"checkpoint\b", re.IGNORECASE)
_FORCED = re.compile(r"\bforce(?:\s+|_)checkpoint\b", re.IGNORECASE)
_CHECKPOINT_FUNCTION = re.compile(r"\b(?:force_)?checkpoint\s*\(", re.IGNORECASE)
_BEFORE_SECRET = frozenset(b"create drop or replace temp temporary persistent".split())


def judge_for_everybody(kind: str, sql: str) -> str:
    """Return the statement's kind, with ``checkpoint`` for the ways to ask for one.

    Raises:
        StatementRefusedError: it is not run for anybody.
    """
    if kind in _REFUSED:
        refuse(_REFUSED[kind], f"{kind.upper()} statements are not run here")
    if kind == "pragma" and _IMPORT.search(sql):  # DuckDB 1.5 refuses it while it parses
        refuse("import", "IMPORT DATABASE is not run here")
    if kind in ("call", "pragma") and _CHECKPOINT.search(sql):
        kind = "checkpoint"
    elif _PRAGMA.match(sql):
        _refuse_pragma(sql)
    _refuse_other_checkpoints(kind, sql)
    _refuse_own_settings(kind, sql)
    _refuse_secrets(kind, sql)
    return kind


def _refuse_pragma(sql: str) -> None:
    """Refuse pragmas that change something, and those that nobody has looked at.

    DuckDB calls a PRAGMA a SELECT, a SET or a CALL; its first word tells what it is.
    """
    words = [token.text for token in read_tokens(sql) if token.is_name]
    name = words[1] if len(words) > 1 else ""
    if name not in ALLOWED_PRAGMAS and name not in ALLOWED_SETTINGS:
        refuse("settings", f"PRAGMA {name[:50]} is not run here")


def _refuse_own_settings(kind: str, sql: str) -> None:
    """Keep the settings that connections need open for the service out of users' reach.

    RESET custom_profiling_settings makes DuckDB 1.5.5 end the process at the next EXPLAIN ANALYZE.
    The functions can be called in any SELECT: after enable_profiling(save_location = ...) every
    statement on the connection ends with an internal error, and the log keeps every user's
    statements in memory for every other user to read.
    """
    if kind in _CHANGES_SETTINGS and _OWN_SETTINGS.search(sql):
        refuse(
            "settings",
            "settings of profiler, optimizer, progress bar, order and shutdown belong to the service",
            hint="POST explain with analyze shows a measured plan.",
        )
    if _OWN_FUNCTIONS.search(sql) and _names_own_function(sql):
        refuse("engine-log", "the engine's log and profiler belong to the service")


def _names_own_function(sql: str) -> bool:
    """Tell a function from a word of a text, unless the statement may run its texts."""
    names = {token.text for token in read_tokens(sql) if token.is_name}
    return bool(names & (_OWN_NAMES | _RUN_TEXT))


def _refuse_other_checkpoints(kind: str, sql: str) -> None:
    """Leave one way to ask for a checkpoint, which the service can run under its own lock.

    A forced one would end other users' transactions.
    """
    if kind == "checkpoint" and _FORCED.search(sql):
        refuse("checkpoint", "a forced checkpoint would end the transactions of others")
    if kind != "checkpoint" and _CHECKPOINT_FUNCTION.search(sql):
        refuse("checkpoint", "checkpoints are not run as a function")


def _refuse_secrets(kind: str, sql: str) -> None:
    """Keep the service's keys as they are: every user's statements share them."""
    if kind not in ("create", "drop") or "secret" not in sql.lower():
        return
    text = sql.encode(errors="surrogatepass")
    for start, _ in duckdb.tokenize(sql):
        match = _WORD.match(text, start)
        word = match.group().lower() if match else b""  # a comment, in DuckDB 2.0
        if word == b"secret":
            refuse("secrets", "secrets belong to the service")
        if word and word not in _BEFORE_SECRET:
            return
