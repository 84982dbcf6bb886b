"""What a statement is, asked of DuckDB's own parser and remembered by text."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass

import duckdb

from chronoduck.engine.failures import translate
from chronoduck.errors import DuckDBQueryError, StatementRefusedError

__all__ = ["MAX_STATEMENT_BYTES", "Statement", "StatementParser", "query_hash"]

MAX_STATEMENT_BYTES = 1_000_000
"""Longer texts are refused before they are parsed: planning time grows faster than the text."""
_CACHE_ENTRIES = 4096
_CACHED_BYTES = 20_000
"""Only texts up to this length are remembered: the long ones are bulk inserts, never seen twice."""

_READ_ONLY = frozenset({"select", "explain"})
_LEAVES_NO_STATE = _READ_ONLY | {"insert", "update", "delete", "merge_into", "copy"}
_CHANGES_SETTINGS = frozenset({"set", "pragma", "call", "multi"})
_OWN_SETTINGS = re.compile(
    "profil|tracked_metrics|progress_bar|verif|optimizer|checkpoint_on_shutdown", re.IGNORECASE
)
_OWN_FUNCTIONS = re.compile(
    r"\b(?:(?:en|dis)able_(?:logging|profiling)|truncate_duckdb_logs|duckdb_logs)\b", re.IGNORECASE
)
_SCOPES = re.compile("chronoduck_scope_", re.IGNORECASE)
_IMPORT = re.compile(r"\bimport\b.*\bdatabase\b", re.IGNORECASE | re.DOTALL)
_WORD = re.compile(rb"\w+")
_CHECKPOINT = re.compile(r"checkpoint\b", re.IGNORECASE)
_FORCED = re.compile(r"\bforce(?:\s+|_)checkpoint\b", re.IGNORECASE)
_CHECKPOINT_FUNCTION = re.compile(r"\b(?:force_)?checkpoint\s*\(", re.IGNORECASE)
_BEFORE_SECRET = frozenset(b"create drop or replace temp temporary persistent".split())
_REFUSED = {
    "transaction": "Send the statements together to POST batch, or use service.transaction().",
    "attach": "One service serves one file; run another service for another file.",
    "detach": "One service serves one file; run another service for another file.",
    "load": "Extensions are loaded when the service starts; see DUCKDB_ENABLE_S3.",
}


@dataclass(frozen=True)
class Statement:
    """One parsed statement.

    ``kind`` is DuckDB's statement type in lower case (``select``, ``insert``, ``create``, ...).
    ``is_read_only``: it can change no data. ``leaves_state``: a connection that ran it may hold
    temporary objects or changed settings.
    """

    text: str
    kind: str
    parameter_names: frozenset[str]
    query_hash: str
    leaves_state: bool
    is_read_only: bool = False


def query_hash(sql: str) -> str:
    """Return 16 hex digits that are equal for texts equal up to outer space and semicolons."""
    return hashlib.sha256(sql.strip().rstrip(";").rstrip().encode()).hexdigest()[:16]


class StatementParser:
    """Classifies statement texts on an in-memory connection of its own; safe from any thread.

    Parsing never sees the user's database: ``IMPORT DATABASE`` reads a file while it is parsed, so
    external access is off here. 4 µs warm, 10-500 µs cold.
    """

    def __init__(self) -> None:
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "enable_external_access": "false",
                "errors_as_json": "true",
                "memory_limit": "100MB",
                "threads": "1",
            },
        )
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, Statement] = OrderedDict()

    def parse(self, sql: str) -> Statement:
        """Return what the text is.

        Raises:
            DuckDBQueryError: it is empty, too long, not valid, or more than one statement.
            StatementRefusedError: a kind that is not run here (BEGIN, ATTACH, LOAD, ...).
        """
        with self._lock:
            known = self._cache.get(sql)
            if known is not None:
                self._cache.move_to_end(sql)
                return known
            statement = self._parse(sql)
            if len(sql) <= _CACHED_BYTES:
                self._cache[sql] = statement
                if len(self._cache) > _CACHE_ENTRIES:
                    self._cache.popitem(last=False)
            return statement

    def _parse(self, sql: str) -> Statement:
        size = len(sql.encode(errors="surrogatepass"))
        if size > MAX_STATEMENT_BYTES:
            raise DuckDBQueryError(
                f"the statement has {size:,} bytes; at most {MAX_STATEMENT_BYTES:,} are accepted",
                hint="Load bulk data with `chronoduck load` or POST tables/{name}/rows.",
                category="too_long",
            )
        try:
            parts = self._connection.extract_statements(sql)
            kinds = [part.type.name.lower() for part in parts]
            names = frozenset().union(*(part.named_parameters for part in parts))
        except (duckdb.Error, ValueError, RuntimeError) as error:
            raise translate(error, sql) from error
        if not parts:
            raise DuckDBQueryError(
                "the text holds no statement", hint="Send one SQL statement.", category="empty"
            )
        # PIVOT without an IN list is parsed into a temporary type and the SELECT over it, both
        # without a text of their own; every other text with two parts is two statements.
        # DuckDB 2.0 calls it one statement of the kind "multi".
        is_pivot = kinds == ["multi"] or (len(parts) == 2 and not parts[1].query)
        if len(parts) > 1 and not is_pivot:
            raise StatementRefusedError(
                f"the text holds {len(parts)} statements; exactly one is run at a time",
                hint="Send them as a list to POST batch.",
            )
        kind = "select" if is_pivot else kinds[-1]
        if kind in _REFUSED:
            raise StatementRefusedError(
                f"{kind.upper()} statements are not run here", hint=_REFUSED[kind]
            )
        if kind == "pragma" and _IMPORT.search(sql):  # DuckDB 1.5 refuses it while it parses
            raise StatementRefusedError(
                "IMPORT DATABASE is not run here", hint="Load the files with `chronoduck load`."
            )
        if kind in ("call", "pragma") and _CHECKPOINT.search(sql):
            kind = "checkpoint"
        _refuse_other_checkpoints(kind, sql)
        # EXPLAIN ANALYZE runs what it explains, and the parser does not say what that is.
        may_run = kind == "explain" and "analyze" in sql.lower()
        self._refuse_own_settings(kind, sql)
        _refuse_secrets(kind, sql)
        if (kind not in _READ_ONLY or may_run) and _SCOPES.search(sql):
            raise StatementRefusedError(
                "the catalogues of narrowed keys belong to the service",
                hint="They follow the tables by themselves.",
            )
        return Statement(
            text=sql,
            kind=kind,
            parameter_names=names,
            query_hash=query_hash(sql),
            # setseed() changes the connection's random state although it is called in a SELECT.
            is_read_only=kind in _READ_ONLY and not may_run,
            leaves_state=is_pivot
            or may_run
            or kind not in _LEAVES_NO_STATE
            or re.search("setseed", sql, re.IGNORECASE) is not None,
        )

    @staticmethod
    def _refuse_own_settings(kind: str, sql: str) -> None:
        """Keep the settings that connections need open for the service out of users' reach.

        RESET custom_profiling_settings makes DuckDB 1.5.5 end the process at the next EXPLAIN ANALYZE.
        The functions can be called in any SELECT: after enable_profiling(save_location = ...) every
        statement on the connection ends with an internal error, and the log keeps every user's
        statements in memory for every other user to read.
        """
        if kind in _CHANGES_SETTINGS and _OWN_SETTINGS.search(sql):
            raise StatementRefusedError(
                "settings of profiler, optimizer, progress bar and shutdown belong to the service",
                hint="POST explain with analyze shows a measured plan.",
            )
        if _OWN_FUNCTIONS.search(sql):
            raise StatementRefusedError(
                "the engine's log and profiler belong to the service",
                hint="POST explain with analyze shows a measured plan; the service logs statements.",
            )

    def close(self) -> None:
        """Close the parser's own connection."""
        self._connection.close()


def _refuse_other_checkpoints(kind: str, sql: str) -> None:
    """Leave one way to ask for a checkpoint, which the service can run under its own lock.

    A forced one would end other users' transactions.
    """
    if kind == "checkpoint" and _FORCED.search(sql):
        raise StatementRefusedError(
            "a forced checkpoint would end the transactions of others", hint="Send CHECKPOINT."
        )
    if kind != "checkpoint" and _CHECKPOINT_FUNCTION.search(sql):
        raise StatementRefusedError(
            "checkpoints are not run as a function", hint="Send CHECKPOINT, on its own."
        )


def _refuse_secrets(kind: str, sql: str) -> None:
    """Keep the service's keys as they are: every user's statements share them."""
    if kind not in ("create", "drop") or "secret" not in sql.lower():
        return
    text = sql.encode(errors="surrogatepass")
    for start, _ in duckdb.tokenize(sql):
        match = _WORD.match(text, start)
        word = match.group().lower() if match else b""  # a comment, in DuckDB 2.0
        if word == b"secret":
            raise StatementRefusedError(
                "secrets belong to the service",
                hint="Set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and DUCKDB_ENABLE_S3.",
            )
        if word and word not in _BEFORE_SECRET:
            return
