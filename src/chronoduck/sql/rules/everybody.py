"""What nobody may send, code in this process included: it would take the engine from everybody."""

from __future__ import annotations

from collections.abc import Sequence

from chronoduck.sql.rules.instead import pragma_hint
from chronoduck.sql.rules.known_settings import ALLOWED_PRAGMAS, ALLOWED_SETTINGS
from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.tokens import Token, first_word, read_tokens

__all__ = ["judge_for_everybody"]

_REFUSED = {
    "transaction": "transaction",
    "attach": "attach",
    "detach": "attach",
    "load": "extension",
}
_NAMES = {"load": "INSTALL and LOAD"}  # the parser has one kind for both
_CHANGES_SETTINGS = frozenset({"set", "pragma", "call", "multi"})
_OWN_SETTINGS = (
    "profil",
    "tracked_metrics",
    "progress_bar",
    "verif",
    "optimizer",
    "insertion_order",
    "checkpoint_on_shutdown",
)
_OWN_NAMES = frozenset(
    "enable_logging disable_logging enable_profiling disable_profiling truncate_duckdb_logs "
    "duckdb_logs".split()
)
_RUN_TEXT = frozenset("query query_table json_execute_serialized_sql prepare execute".split())
"""Words of statements in which a string may be run."""
_CHECKPOINTS = frozenset({"checkpoint", "force_checkpoint"})
_BEFORE_SECRET = frozenset("create drop or replace temp temporary persistent".split())


def judge_for_everybody(kind: str, sql: str) -> str:
    """Return the statement's kind, with ``checkpoint`` for the ways to ask for one.

    Raises:
        StatementRefusedError: it is not run for anybody.
    """
    if kind in _REFUSED:
        refuse(_REFUSED[kind], f"{_NAMES.get(kind, kind.upper())} statements are not run here")
    lowered = sql.lower()
    if kind == "pragma" and "database" in lowered.partition("import")[2]:
        refuse("import", "IMPORT DATABASE is not run here")  # DuckDB 1.5 refuses it while it parses
    tokens = read_tokens(sql) if "checkpoint" in lowered else []
    if kind in ("call", "pragma") and any(
        token.is_name and token.text in _CHECKPOINTS for token in tokens
    ):
        kind = "checkpoint"
    elif first_word(sql) == "pragma":
        _refuse_pragma(sql)
    _refuse_other_checkpoints(kind, tokens)
    _refuse_own_settings(kind, sql, lowered)
    if kind in ("create", "drop") and "secret" in lowered:
        _refuse_secrets(read_tokens(sql))
    return kind


def _refuse_pragma(sql: str) -> None:
    """Refuse pragmas that change something, and those that nobody has looked at.

    DuckDB calls a PRAGMA a SELECT, a SET or a CALL; its first word tells what it is.
    """
    words = [token.text for token in read_tokens(sql) if token.is_name]
    name = words[1] if len(words) > 1 else ""
    if name not in ALLOWED_PRAGMAS and name not in ALLOWED_SETTINGS:
        refuse("settings", f"PRAGMA {name[:50]} is not run here", pragma_hint(name))


def _refuse_own_settings(kind: str, sql: str, lowered: str) -> None:
    """Keep the settings that connections need open for the service out of users' reach.

    RESET custom_profiling_settings makes DuckDB 1.5.5 end the process at the next EXPLAIN ANALYZE.
    The functions can be called in any SELECT: after enable_profiling(save_location = ...) every
    statement on the connection ends with an internal error, and the log keeps every user's
    statements in memory for every other user to read.
    """
    if kind in _CHANGES_SETTINGS and any(name in lowered for name in _OWN_SETTINGS):
        refuse(
            "settings",
            "settings of profiler, optimizer, progress bar, order and shutdown belong to the service",
            hint="POST explain with analyze shows a measured plan.",
        )
    if any(name in lowered for name in _OWN_NAMES) and _names_own_function(sql):
        refuse("engine-log", "the engine's log and profiler belong to the service")


def _names_own_function(sql: str) -> bool:
    """Tell a function from a word of a text, unless the statement may run its texts."""
    names = {token.text for token in read_tokens(sql) if token.is_name}
    return bool(names & (_OWN_NAMES | _RUN_TEXT))


def _refuse_other_checkpoints(kind: str, tokens: Sequence[Token]) -> None:
    """Leave one way to ask for a checkpoint, which the service can run under its own lock.

    A forced one would end other users' transactions.
    """
    names = [token.text if token.is_name else "" for token in tokens]
    if kind == "checkpoint":
        if "force_checkpoint" in names or "force" in names:
            refuse("checkpoint", "a forced checkpoint would end the transactions of others")
        return
    runs_texts = not _RUN_TEXT.isdisjoint(names)
    for index, token in enumerate(tokens):
        is_called = index + 1 < len(tokens) and tokens[index + 1].text == "("
        if (names[index] in _CHECKPOINTS and is_called) or (
            runs_texts and token.kind == "string" and "checkpoint" in token.text.lower()
        ):
            refuse("checkpoint", "checkpoints are not run as a function")


def _refuse_secrets(tokens: Sequence[Token]) -> None:
    """Keep the service's keys as they are: every user's statements share them."""
    for token in tokens:
        if token.text == "secret" and token.is_name:
            refuse("secrets", "secrets belong to the service")
        if token.kind != "word" or token.text not in _BEFORE_SECRET:
            return
