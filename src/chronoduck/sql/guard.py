"""The guard: what a statement may do, by the role of who sends it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Literal

from chronoduck.errors import DuckDBException, StatementRefusedError
from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.principals import Role
from chronoduck.sql.autocommit import Autocommit
from chronoduck.sql.bulk_insert import is_bulk_insert
from chronoduck.sql.cutting import created_by, made_by, named_by, pieces_of
from chronoduck.sql.definitions import (
    EMPTY,
    CatalogWantedError,
    Definitions,
    DefinitionSource,
    MacroBody,
    ViewBody,
)
from chronoduck.sql.expansions import Expander
from chronoduck.sql.explaining import read_explain
from chronoduck.sql.pivots import has_pivot, with_in_lists
from chronoduck.sql.rules.bounds import MAX_STATEMENT_BYTES
from chronoduck.sql.rules.file_names import tables_like_files
from chronoduck.sql.rules.growth import Growth, judge_facts
from chronoduck.sql.rules.instead import pragma_hint
from chronoduck.sql.rules.kinds import READS, judge_kind, judge_query_log, may_write
from chronoduck.sql.rules.refusals import refuse, refuse_again, refuse_own_schema
from chronoduck.sql.rules.second_witness import SecondWitness, Subject
from chronoduck.sql.rules.stored_expressions import keeps_expressions, refuse_stored_lambda
from chronoduck.sql.rules.value_types import judge_type_words
from chronoduck.sql.rules.words import judge_leftover, judge_words
from chronoduck.sql.scratch import builtins
from chronoduck.sql.statements import CHANGES_CATALOG, Statement, StatementParser
from chronoduck.sql.tokens import Token, has_gaps, read_tokens
from chronoduck.sql.written import Written, written_by, written_by_bulk

__all__ = ["Guard", "Origin", "Pending"]

Origin = Literal["user", "template"]
"""``template``: a text of the operator's, which every role may run."""

_MAKES_NOTHING = frozenset({"select", "insert", "update", "delete", "merge_into"})
_CACHE_ENTRIES = 4096
_CACHED_CHARACTERS = 8_000


class Pending:
    """What the statements before in a batch or transaction define; nobody else sees it yet."""

    def __init__(self) -> None:
        self.created: tuple[MacroBody | ViewBody, ...] = ()
        self.statements: tuple[str, ...] = ()
        """The DDL among them, for the copy of the catalog."""

    @property
    def is_empty(self) -> bool:
        """Whether they define nothing."""
        return not self.created and not self.statements


class Guard:
    """Judges statements and remembers its verdicts by text and role; safe from any thread.

    Measured: 1 µs for a known text, 0.3-0.8 ms for a new one.
    """

    def __init__(
        self,
        parser: StatementParser,
        live: DefinitionSource | None = None,
        *,
        has_stores: bool = False,
        knows_tables: bool = True,
    ) -> None:
        """Without ``live`` no view or macro is known. ``has_stores``: admins may read from S3.

        ``knows_tables``: else a name like a file's may be a table's, and whoever asks looks.
        """
        self._live = live
        self._has_stores = has_stores
        self._knows_tables = knows_tables
        self._parser, self.scratch = parser, parser.scratch
        self.witness = SecondWitness(live)
        self._definitions = EMPTY
        self._verdicts: OrderedDict[tuple[str, Role, Origin], Statement | StatementRefusedError] = (
            OrderedDict()
        )
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the guard's own connection."""
        self.witness.close()

    def judge(
        self, sql: str, role: Role, origin: Origin = "user", pending: Pending | None = None
    ) -> Statement:
        """Return the statement, which may be run; readers' ones in a read-only transaction.

        Raises:
            DuckDBQueryError: it is not one valid statement.
            StatementRefusedError: a rule refuses it; ``rule`` and ``hint`` say which, and what
                to do instead.
        """
        definitions = EMPTY if self._live is None else self._live.current()
        if pending is not None and not pending.is_empty:
            files = tables_like_files(made_by(pending.statements))
            definitions = definitions.plus(pending.created, files)
            return self._judge(sql, role, origin, definitions, pending)
        key = (sql, role, origin)
        with self._lock:
            if definitions is not self._definitions:
                self._definitions = definitions
                self._verdicts.clear()
            known = self._verdicts.get(key)
            if known is not None:
                self._verdicts.move_to_end(key)
        # What a batch defines is noted while it is judged.
        if (
            pending is not None
            and isinstance(known, Statement)
            and known.kind not in _MAKES_NOTHING
        ):
            known = None
        if known is None:
            known = self._verdict(sql, role, origin, definitions, pending)
            self._remember(key, known, definitions, pending)
        if isinstance(known, StatementRefusedError):
            refuse_again(known)
        return known

    def _remember(
        self,
        key: tuple[str, Role, Origin],
        verdict: Statement | StatementRefusedError,
        definitions: Definitions,
        pending: Pending | None,
    ) -> None:
        if len(key[0]) > _CACHED_CHARACTERS or (pending is not None and not pending.is_empty):
            return
        with self._lock:
            if definitions is self._definitions:
                self._verdicts[key] = verdict
                if len(self._verdicts) > _CACHE_ENTRIES:
                    self._verdicts.popitem(last=False)

    def _verdict(
        self,
        sql: str,
        role: Role,
        origin: Origin,
        definitions: Definitions,
        pending: Pending | None,
    ) -> Statement | StatementRefusedError:
        try:
            return self._judge(sql, role, origin, definitions, pending)
        except StatementRefusedError as error:
            # Without its traceback, which would keep the whole judgement alive.
            return StatementRefusedError(
                error.detail,
                hint=error.hint,
                rule=error.rule,
                operator_detail=error.operator_detail,
            )

    def _judge(
        self,
        sql: str,
        role: Role,
        origin: Origin,
        definitions: Definitions,
        pending: Pending | None,
    ) -> Statement:
        try:
            case = _Case(
                self._parser,
                definitions,
                role,
                origin,
                pending,
                self.witness,
                has_stores=self._has_stores,
                knows_tables=self._knows_tables,
            )
            return case.judge(sql)
        except (DuckDBException, CatalogWantedError):
            raise
        except Exception as error:
            # Whatever goes wrong here, the statement was not judged: it is not run.
            raise StatementRefusedError(
                "the statement could not be judged",
                hint="Write it another way.",
                rule="unreadable",
                operator_detail=f"the statement could not be judged: {error!r}",
            ) from error


class _Case:
    """One statement before the guard."""

    def __init__(
        self,
        parser: StatementParser,
        definitions: Definitions,
        role: Role,
        origin: Origin,
        pending: Pending | None,
        witness: SecondWitness,
        *,
        has_stores: bool,
        knows_tables: bool,
    ) -> None:
        self._witness = witness
        self._parser = parser
        self._scratch = parser.scratch
        self._role = Role.ANALYST if origin == "template" else role
        self._may_write = may_write(role) and origin == "user"
        self._is_reader = not may_write(role)
        self._tells_writes = role is Role.WRITER and origin == "user"
        self._written = Written()
        self._pending = pending
        self._names = Expander(
            parser.scratch,
            definitions,
            may_write=self._may_write,
            may_read_stores=has_stores and role is Role.ADMIN and origin == "user",
            trusts_parameters=origin == "template",
            knows_tables=knows_tables,
        )

    def judge(self, sql: str) -> Statement:
        """Return the statement as it is to be run."""
        statement = self._judge_whole(sql)
        if not self._names.files:
            return statement
        # Between the judgement and the run such a table may go, and its name would be a file's. A
        # read-only transaction runs no EXPLAIN of a write.
        is_query = statement.is_read_only and statement.kind == "select"
        return replace(
            statement,
            tables_like_files=tuple(sorted(self._names.files)),
            in_read_only_transaction=statement.in_read_only_transaction or is_query,
            autocommit=Autocommit.NEVER if statement.is_read_only else Autocommit.BY_US,
        )

    def _judge_whole(self, sql: str) -> Statement:
        is_bulk = False
        if len(sql) > MAX_STATEMENT_BYTES // 4:
            is_bulk = is_bulk_insert(sql)
            size = len(sql.encode(errors="surrogatepass"))
            if size > MAX_STATEMENT_BYTES and not (is_bulk and self._may_write):
                refuse(
                    "too-long",
                    f"the statement has {size:,} bytes; at most {MAX_STATEMENT_BYTES:,} are accepted "
                    "unless it inserts rows of literals",
                )
        statement = self._parser.parse(sql)
        if statement.reads_query_log:
            judge_query_log(self._role)
        if statement.kind == "insert" and is_bulk and OWN_SCHEMA not in sql.lower():
            judge_kind("insert", (), self._role)
            written = written_by_bulk(sql) if self._tells_writes else None
            return replace(statement, written=written)
        tokens = read_tokens(sql)
        if has_gaps(sql, tokens):
            refuse("unreadable", "the statement's tokens do not add up to its text")
        writes = self._judge_parsed(statement, sql, tokens, is_inner=False)
        if self._tells_writes:
            if self._names.hides_writes:
                self._written = replace(self._written, is_known=False)
            statement = replace(statement, written=self._written)
        if self._is_reader:
            return replace(statement, is_read_only=True, in_read_only_transaction=True)
        if statement.kind in READS:
            return replace(statement, is_read_only=not writes)
        if statement.changes_catalog:
            return replace(statement, keeps_own_schema=True)
        return statement

    def _judge_parsed(
        self, statement: Statement, text: str, tokens: list[Token], *, is_inner: bool
    ) -> bool:
        """Judge a statement and return whether running it writes."""
        kind = statement.kind
        self._judge_own_schema(kind, tokens)
        judge_kind(kind, tokens, self._role)
        if kind in ("create", "alter"):
            _judge_name(kind, tokens)
        if kind == "explain":
            if is_inner:
                refuse("unreadable", "EXPLAIN explains no EXPLAIN")
            inner, is_run, _ = read_explain(text, tokens)
            parsed = self._parser.parse(inner)
            inner_tokens = read_tokens(inner)
            writes = self._judge_parsed(parsed, inner, inner_tokens, is_inner=True)
            if is_run:
                self._note_made(parsed.kind, inner, inner_tokens)
            else:
                self._written = Written()
            return writes and is_run
        if self._tells_writes:
            self._written = written_by(kind, text, tokens, self._scratch)
        if kind == "select":
            growth = self._judge_select(text, tokens)
            judge_words(tokens, self._names, has_tree=True)
            return growth.writes
        judge_words(tokens, self._names, has_tree=False)
        self._judge_pieces(kind, text, tokens)
        self._ask_witness(kind, text, tokens)
        if not is_inner:
            self._note_made(kind, text, tokens)
        return True

    def _ask_witness(self, kind: str, text: str, tokens: list[Token]) -> None:
        pending = () if self._pending is None else self._pending.statements

        def judge_parts(canonical: str) -> None:
            words = read_tokens(canonical)
            judge_words(words, self._names, has_tree=False)
            self._judge_pieces(kind, canonical, words)

        with_lists = with_in_lists(text, tokens) if has_pivot(tokens) else None
        subject = Subject(kind, text, tokens, pending, with_lists)
        self._witness.judge(subject, self._names, self._scratch, judge_parts)

    def _judge_own_schema(self, kind: str, tokens: list[Token]) -> None:
        """Refuse a name of the service's own schema; where there is no tree, a literal is one too.

        DuckDB 2.0 takes literals for names (``DROP SCHEMA 'x'``). What the engine made of it is
        looked at once more before the COMMIT (``engine/own_tables.py``).
        """
        for token in tokens:
            text = token.text.lower()
            is_own = text == OWN_SCHEMA if token.is_name else OWN_SCHEMA in text
            if is_own and (token.is_name or (token.kind == "string" and kind in CHANGES_CATALOG)):
                refuse_own_schema()

    def _judge_select(self, text: str, tokens: list[Token]) -> Growth:
        first = tokens[0].text if tokens else ""
        facts = None if first in ("pragma", "call") else self._scratch.facts(text)
        if facts is None and has_pivot(tokens):
            facts = self._scratch.facts(with_in_lists(text, tokens))
            if facts is not None:
                growth = judge_facts(facts, self._names)
                judge_words(tokens, self._names, has_tree=False)
                self._ask_witness("select", text, tokens)
                return growth
        if facts is None:
            if first == "pragma":
                name = tokens[1].text if len(tokens) > 1 else ""
                refuse("settings", "PRAGMA is not run for anybody over HTTP", pragma_hint(name))
            refuse("unreadable", "the query cannot be read as a tree")
        return judge_facts(facts, self._names)

    def _judge_pieces(self, kind: str, text: str, tokens: list[Token]) -> None:
        covered = [False] * len(tokens)
        for piece in pieces_of(kind, text, tokens):
            inner = piece.sql
            facts = self._scratch.facts(inner)
            if facts is None and "pivot" in inner.lower():
                facts = self._scratch.facts(with_in_lists(inner, read_tokens(inner)))
            if facts is None:
                if piece.is_needed:
                    refuse("unreadable", "a query inside the statement cannot be read")
                continue
            growth = judge_facts(facts, self._names)
            if growth.has_lambda and keeps_expressions(kind, tokens):
                refuse_stored_lambda()
            covered[piece.first : piece.stop] = [True] * (piece.stop - piece.first)
        judge_leftover(tokens, covered, self._names)
        judge_type_words(tokens, covered)

    def _note_made(self, kind: str, text: str, tokens: list[Token]) -> None:
        if self._pending is not None and kind in CHANGES_CATALOG:
            self._pending.statements += (text,)
        if kind != "create":
            return
        created = created_by(text, tokens)
        for item in created:
            if isinstance(item, MacroBody) and self._names.is_builtin(item.name):
                refuse("builtin-name", f"DuckDB has a function {item.name}() of its own")
        if self._pending is not None:
            self._pending.created += created


def _judge_name(kind: str, tokens: list[Token]) -> None:
    """Refuse to hide a type or view of DuckDB: everybody's statements would mean something else."""
    made, name = named_by(kind, tokens)
    hides_type = made == "type" and name in builtins().types
    if hides_type or (made in ("table", "view", "recursive") and name in builtins().views):
        refuse("builtin-name", f"DuckDB has a {'type' if hides_type else 'view'} {name} of its own")
