"""What a statement is, asked of DuckDB's own parser and remembered by text."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import duckdb

from chronoduck.errors import DuckDBQueryError, StatementRefusedError
from chronoduck.sql.autocommit import Autocommit
from chronoduck.sql.characters import refuse_nul, stray_character
from chronoduck.sql.comments import has_slow_comments
from chronoduck.sql.engine_errors import translate
from chronoduck.sql.explaining import RUN_BY_EXPLAIN, read_explain
from chronoduck.sql.judged_text import JudgedText
from chronoduck.sql.parsing_options import PARSING_OPTIONS
from chronoduck.sql.rules.everybody import judge_for_everybody
from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.scratch import Scratch
from chronoduck.sql.store_reads import FetchedObjects, with_files
from chronoduck.sql.tokens import first_word, read_tokens
from chronoduck.sql.written import WriteWall, Written

__all__ = ["CHANGES_CATALOG", "MAX_STATEMENT_BYTES", "Statement", "StatementParser", "query_hash"]

MAX_STATEMENT_BYTES = 1_000_000
"""Longer texts are refused before they are parsed: planning time grows faster than the text."""
_CACHE_ENTRIES = 4096
_CACHED_BYTES = 20_000
"""Only texts up to this length are remembered: the long ones are bulk inserts, never seen twice."""

_READ_ONLY = frozenset({"select", "explain"})
_LEAVES_NO_STATE = _READ_ONLY | {"insert", "update", "delete", "merge_into", "copy"}
CHANGES_CATALOG = frozenset({"create", "drop", "alter"})
"""Kinds of DDL."""
_COUNTS = frozenset({"insert", "update", "delete", "merge_into", "copy"})
_CHANGES_NOTHING = frozenset("checkpoint vacuum analyze set variable_set export".split())
_WRITING_WORDS = ("insert", "update", "delete", "truncate", "merge", "copy")
"""Without WITH and one of these words no CTE writes."""
_EXPLAIN_HINT = "EXPLAIN (ANALYZE, FORMAT json) takes a SELECT, INSERT, UPDATE, DELETE or MERGE."
_EXPLAINED = RUN_BY_EXPLAIN | {"create"}
"""Kinds that EXPLAIN shows a plan of; of ANALYZE only those it may run."""


@dataclass(frozen=True)
class Statement:
    """One parsed statement.

    ``kind`` is DuckDB's statement type in lower case (``select``, ``insert``, ``create``, ...).
    ``is_read_only``: it can change no data. ``leaves_state``: a connection that ran it may hold
    temporary objects or changed settings.
    """

    __pydantic_config__: ClassVar[dict[str, bool]] = {"arbitrary_types_allowed": True}
    """For ``engine/analyzers/answers.py``, which checks the types of what an analyzer sends."""

    text: str
    kind: str
    parameter_names: frozenset[str]
    query_hash: str
    leaves_state: bool
    is_read_only: bool = False
    in_read_only_transaction: bool = False
    """The engine itself is to keep it from writing, whatever was overlooked."""
    is_alter: bool = False
    """Changes a table that exists: DuckDB loses rows that others insert meanwhile."""
    autocommit: Autocommit = Autocommit.NEVER
    """How it is committed when it is sent alone."""
    reads_query_log: bool = False
    """It names ``chronoduck.query_log`` and is run on that log's own instance."""
    written: Written | None = None
    """What a writer's statement changes; None: it was judged for another role."""
    write_wall: WriteWall | None = None
    """What it may change; looked at in its own transaction."""
    keeps_own_schema: bool = False
    """It is rolled back if it changes the service's own schema, however it names it."""
    reads_results: bool = False
    """It reads the stored result of a job, on the instance that only does that."""
    tables_like_files: tuple[tuple[str, ...], ...] = ()
    """Names in it that DuckDB would take for files' if there were no such tables: looked for in its
    own transaction, right before it runs."""
    recheck: Callable[[duckdb.DuckDBPyConnection], None] | None = field(
        default=None, compare=False, repr=False
    )
    """Called in a worker right before it runs: whether what it was judged by is still so."""
    judged_seconds: float = field(default=0.0, compare=False, repr=False)
    """How long its judgement took, waiting for an analyzer included; counts against its deadline."""
    is_label: bool = False
    """Names work of the service in lists and records; its text is nothing to run."""
    fetched_objects: FetchedObjects | None = field(default=None, compare=False, repr=False)
    """Files in place of objects of S3, kept while the statement is in use."""

    @property
    def judged(self) -> JudgedText:
        """The text that the engine runs: this one to the letter, but for files of S3 objects.

        Raises:
            TypeError: there is nothing to run.
        """
        if self.is_label:
            raise TypeError(f"{self.text!r} is a label")
        if self.fetched_objects is None:
            return JudgedText(self.text)
        return JudgedText(with_files(self.text, self.fetched_objects.files))

    @property
    def changes_catalog(self) -> bool:
        """Whether it is DDL."""
        return self.kind in CHANGES_CATALOG


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
            config={**PARSING_OPTIONS, "errors_as_json": "true", "memory_limit": "100MB"},
        )
        self.scratch = Scratch()
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
        refuse_nul(sql)
        size = len(sql.encode(errors="surrogatepass"))
        if size > MAX_STATEMENT_BYTES:
            raise DuckDBQueryError(
                f"the statement has {size:,} bytes; at most {MAX_STATEMENT_BYTES:,} are accepted",
                hint="Load bulk data with `chronoduck load` or POST tables/{name}/rows.",
                category="too_long",
            )
        if has_slow_comments(sql):
            refuse("nesting", "comments begin without a space between them", "Leave them out.")
        stray = stray_character(sql)
        if stray is not None:
            refuse(
                "characters",
                f"the character U+{ord(stray):04X} stands between words of the statement, where it may "
                "be a space or a part of a name",
            )
        try:
            parts = self._extracted(sql)
            kinds = [part.type.name.lower() for part in parts]
            names = frozenset().union(*(part.named_parameters for part in parts))
        except (duckdb.Error, ValueError, RuntimeError) as error:
            raise translate(error, sql) from error
        if not parts:
            raise DuckDBQueryError(
                "the text holds no statement", hint="Send one SQL statement.", category="empty"
            )
        texts = [part.query for part in parts]
        has_no_texts = len(parts) > 1 and not any(texts)
        if (kinds == ["multi"] or has_no_texts) and first_word(sql) == "alter":
            # DuckDB makes a transaction of its own of it: ALTER, UPDATE, ALTER.
            refuse(
                "one-statement",
                "ADD COLUMN with a DEFAULT that is computed is several statements",
                "Add the column without it, ALTER it to SET DEFAULT, and UPDATE the rows there are.",
            )
        is_pivot = kinds == ["multi"] or _is_pivot(kinds, texts)
        if len(parts) > 1 and not is_pivot:
            refuse(
                "one-statement",
                f"the text holds {len(parts)} statements; exactly one is run at a time",
            )
        kind = "select" if is_pivot else kinds[-1]
        kind = judge_for_everybody(kind, sql)
        # EXPLAIN ANALYZE runs what it explains.
        run = self._run_by_explain(sql) if kind == "explain" else None
        may_run = run is not None and not run.is_read_only
        # In DuckDB 2.0 a CTE may write.
        may_run |= kind == "select" and self._may_write(sql)
        lowered = sql.lower()
        if (kind not in _READ_ONLY or may_run) and "chronoduck_scope_" in lowered:
            raise StatementRefusedError(
                "the catalogues of narrowed keys belong to the service",
                hint="They follow the tables by themselves.",
                rule="attach",
            )
        reads_query_log = "query_log" in lowered and _names_query_log(sql)
        if reads_query_log and kind not in _READ_ONLY:
            refuse("query-log", "the query log is only read, by a SELECT of its own")
        return Statement(
            text=sql,
            kind=kind,
            parameter_names=names,
            query_hash=query_hash(sql),
            is_read_only=kind in _READ_ONLY and not may_run,
            in_read_only_transaction=reads_query_log,
            is_alter=kind == "alter",
            autocommit=_autocommit(kind, has_result="return" in lowered, may_run=may_run),
            reads_query_log=reads_query_log,
            # setseed() changes the connection's random state although it is called in a SELECT.
            leaves_state=is_pivot
            or may_run
            or kind not in _LEAVES_NO_STATE
            or "setseed" in lowered,
        )

    def _may_write(self, sql: str) -> bool:
        """Whether what DuckDB calls a SELECT may write: its tree decides, and without one it may."""
        lowered = sql.lower()
        if "with" not in lowered or not any(word in lowered for word in _WRITING_WORDS):
            return False
        facts = self.scratch.facts(sql)
        return facts is None or facts.writes

    def _extracted(self, sql: str) -> list[duckdb.Statement]:
        """Return the parsed statements; another text's failure must not be this one's.

        DuckDB 1.5 parses a PIVOT in a transaction, and an error leaves it open on the connection.
        """
        try:
            return self._connection.extract_statements(sql)
        except duckdb.TransactionException:
            self._connection.rollback()
            return self._connection.extract_statements(sql)

    def _run_by_explain(self, sql: str) -> Statement | None:
        """Return the statement that an EXPLAIN runs, None of one that only shows a plan.

        Raises:
            StatementRefusedError: its options are not understood, or it is of no such kind.
        """
        explained = read_explain(sql, read_tokens(sql))
        if explained.problem is not None:
            refuse("unreadable", f"EXPLAIN: {explained.problem}", _EXPLAIN_HINT)
        inner = self._parse(explained.text)
        allowed = RUN_BY_EXPLAIN if explained.is_run else _EXPLAINED
        if inner.kind not in allowed:
            how = "EXPLAIN ANALYZE" if explained.is_run else "EXPLAIN"
            refuse("statement-kind", f"{how} of {inner.kind.upper()} is not run", _EXPLAIN_HINT)
        return inner if explained.is_run else None

    def close(self) -> None:
        """Close the parser's own connections."""
        self._connection.close()
        self.scratch.close()


def _autocommit(kind: str, *, has_result: bool, may_run: bool) -> Autocommit:
    if kind in _CHANGES_NOTHING or (kind in _READ_ONLY and not may_run):
        return Autocommit.NEVER
    if kind in _COUNTS and not has_result:
        return Autocommit.BY_DUCKDB
    return Autocommit.BY_US


def _names_query_log(sql: str) -> bool:
    """Whether ``chronoduck.query_log`` stands in it, as a name and not in a literal or comment."""
    tokens = read_tokens(sql)
    names = [token.text if token.is_name or token.text == "." else "" for token in tokens]
    return any(
        names[index : index + len(path)] == path
        for path in (
            ["chronoduck", ".", "query_log"],
            ["chronoduck", ".", "main", ".", "query_log"],
        )
        for index in range(len(names))
    )


def _is_pivot(kinds: list[str], texts: list[str]) -> bool:
    """Whether the parts are one PIVOT without an IN list.

    It is parsed into a temporary type for each list and the SELECT over them, all without a text of
    their own; of two statements the first one has its text. DuckDB 2.0 calls it one statement of
    the kind "multi".
    """
    creates = kinds[:-1]
    return (
        bool(creates)
        and not any(texts)
        and kinds[-1] == "select"
        and all(kind == "create" for kind in creates)
    )
