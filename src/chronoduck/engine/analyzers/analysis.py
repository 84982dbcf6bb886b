"""Judgements as the service asks for them: known ones at once, new ones by an analyzer."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, NoReturn

import duckdb

from chronoduck.engine.analyzers.answers import raise_error
from chronoduck.engine.analyzers.messages import Answer, FilterQuestion, HandOver, Question
from chronoduck.engine.analyzers.pool import AnalyzerDiedError, AnalyzerPool
from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.errors import (
    DuckDBConnectionError,
    DuckDBQueryError,
    StatementRefusedError,
)
from chronoduck.principals import Principal
from chronoduck.sql.catalog_copy import CatalogCopy
from chronoduck.sql.definitions import EMPTY, Definitions
from chronoduck.sql.guard import Origin, Pending
from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.scopes.names import Names
from chronoduck.sql.statements import MAX_STATEMENT_BYTES, Statement

__all__ = ["Analysis", "Verdict"]

_MAKES_NOTHING = frozenset({"select", "insert", "update", "delete", "merge_into"})
_TIMES_ASKED = 3
"""Without the catalog, with it, and once more if it changed meanwhile."""
_NO_CATALOG = CatalogCopy(database="unknown")
_CHARGED_SECONDS = 0.05
_OWING_PARTIES = 10_000
_CACHE_ENTRIES = 4096
_CACHED_CHARACTERS = 8_000
_FULL_TIME_CHARACTERS = 100_000
_LEAST_SHARE = 0.25
"""Of the CPU time that a text of 100 KB has, how much the shortest one has."""


class Verdict(NamedTuple):
    """A statement that may run; ``names``: what it names, of a narrowed principal's SELECT."""

    statement: Statement
    names: Names | None
    definitions: Definitions | None = None
    """By which it was judged; None: by none."""


class Analysis:
    """Asks analyzers and remembers what they said by text, role and origin. For one event loop."""

    def __init__(
        self, pool: AnalyzerPool, live: LiveDefinitions | None, cpu_seconds: float
    ) -> None:
        """Without ``live`` no view or macro is known. ``cpu_seconds``: for a text of 100 KB."""
        self.pool = pool
        self.live = live
        self._cpu_seconds = cpu_seconds
        self._handed = HandOver(1, EMPTY)
        self._owed: dict[str, float] = {}
        """CPU seconds of principals that are not charged yet."""
        self._known: OrderedDict[tuple[str, str, Origin, bool], Answer] = OrderedDict()

    def note_statement(self, kind: str, sql: str) -> None:
        """Take notice of a statement that has ended: it may have changed views and macros."""
        if self.live is not None:
            self.live.note_statement(kind, sql)

    async def judge(
        self,
        sql: str,
        principal: Principal,
        origin: Origin = "user",
        pending: Pending | None = None,
        charge: Callable[[float], None] = lambda seconds: None,
    ) -> Verdict:
        """Return the statement, which may be run.

        ``pending``: what the statements before it in a batch define. ``charge`` is told the CPU
        seconds that an analyzer took.

        Raises:
            DuckDBQueryError: it is not one valid statement.
            StatementRefusedError: a rule refuses it; ``analysis``: its analyzer died of it.
            QueueFullError: too many texts wait.
            ServiceUnavailableError: there is no analyzer, or the service stops.
        """
        try:
            return await self._judge(sql, principal, origin, pending, charge)
        except StatementRefusedError as error:
            # Tables are not read anew for each that is made: what looks like a file may be a new one.
            if error.rule != "files" or self.live is None or not self.live.may_be_behind():
                raise
            return await self._judge(sql, principal, origin, pending, charge)

    async def _judge(
        self,
        sql: str,
        principal: Principal,
        origin: Origin,
        pending: Pending | None,
        charge: Callable[[float], None],
    ) -> Verdict:
        # A narrowed principal reaches no view or macro: what they are must not show in refusals.
        is_narrowed = principal.scope is not None
        live = self.live
        if live is not None and live.is_stale and not is_narrowed:
            self._adopt(await asyncio.to_thread(live.current))
        self._forget_old_catalog()
        key = (sql, principal.role, origin, is_narrowed)
        answer = self._known.get(key)
        if answer is not None and (pending is None or _is_same_in_batch(answer, pending)):
            self._known.move_to_end(key)
            judged_by = self._handed
        else:
            answer, judged_by = await self._ask(key, principal, pending, charge)
        raise_error(answer)
        statement = answer.statement
        if statement is None or statement.text != sql:
            refuse("analysis", "an analyzer judged another text")
        if (
            statement.is_label
            or statement.reads_results
            or statement.fetched_objects is not None
            or statement.judged_seconds
            or statement.write_wall is not None
        ):
            refuse("analysis", "an analyzer answered what only the service may add")
        definitions = None if live is None or is_narrowed else judged_by.definitions
        return Verdict(statement, answer.names, definitions)

    async def check_filter(self, text: str, table: str, principal: Principal) -> None:
        """Refuse what is no row filter whatever the table's columns are.

        Raises:
            InvalidRequestError: it is not one condition.
            StatementRefusedError: it is too long or too deep, or its analyzer died of it.
        """
        question = FilterQuestion(text, table, self._time_for(text))
        try:
            answer = await self.pool.ask(principal.id, question)
        except AnalyzerDiedError as death:
            _refuse_killer(death)
        raise_error(answer)

    async def _ask(
        self,
        key: tuple[str, str, Origin, bool],
        principal: Principal,
        pending: Pending | None,
        charge: Callable[[float], None],
    ) -> tuple[Answer, HandOver]:
        sql, _, origin, is_narrowed = key
        if len(sql) > MAX_STATEMENT_BYTES:
            raise DuckDBQueryError(
                f"the statement has more than {MAX_STATEMENT_BYTES:,} bytes",
                hint="Load bulk data with `chronoduck load` or POST tables/{name}/rows.",
                category="too_long",
            )
        created = None if pending is None else pending.created
        question = Question(
            sql,
            principal.role,
            origin,
            created,
            is_narrowed,
            self._time_for(sql),
            () if pending is None else pending.statements,
        )
        for _ in range(_TIMES_ASKED):
            handed = None if is_narrowed else self._handed
            try:
                answer = await self.pool.ask(principal.id, question, handed)
            except AnalyzerDiedError as death:
                charge(death.cpu_seconds)
                _refuse_killer(death)
            self._owe(principal.id, answer.cpu_seconds, charge)
            if not answer.wants_catalog or not await self._has_newer_catalog(handed):
                break
        if answer.statement is None and answer.error is None:
            refuse("unreadable", "the definitions that the statement needs cannot be read now")
        if pending is not None:
            pending.created, pending.statements = answer.created, answer.statements
        # What a batch defines is noted while it is judged: such a statement is judged every time.
        if (
            len(sql) <= _CACHED_CHARACTERS
            and not answer.created
            and not answer.statements
            and not answer.wants_catalog
            and (handed is None or handed is self._handed)
        ):
            self._known[key] = answer
            if len(self._known) > _CACHE_ENTRIES:
                self._known.popitem(last=False)
        return answer, handed or self._handed

    def _owe(self, party: str, seconds: float, charge: Callable[[float], None]) -> None:
        """Charge small costs together: most statements cost their principal a millisecond here."""
        owed = self._owed.pop(party, 0.0) + seconds
        if owed >= _CHARGED_SECONDS:
            charge(owed)
            return
        if len(self._owed) >= _OWING_PARTIES:
            self._owed.clear()
        self._owed[party] = owed

    async def _has_newer_catalog(self, handed: HandOver | None) -> bool:
        """Read the catalog; whether it is another one than the judgement was made with."""
        live, known = self.live, None if handed is None else handed.catalog
        if handed is None or (live is None and known is not None):
            return False
        try:
            catalog = (
                _NO_CATALOG
                if live is None
                else await asyncio.to_thread(live.catalog, anew=known is not None)
            )
        except (duckdb.Error, DuckDBConnectionError):
            return False  # it is being reopened
        if known is not None and known.objects == catalog.objects:
            return False
        self._handed = HandOver(self._handed.version + 1, self._handed.definitions, catalog)
        return True

    def _forget_old_catalog(self) -> None:
        """Have no statement judged by tables that were."""
        live, handed = self.live, self._handed
        if live is not None and handed.catalog and handed.catalog.version != live.changes:
            self._handed = HandOver(handed.version + 1, handed.definitions)

    def _adopt(self, definitions: Definitions) -> None:
        if definitions is not self._handed.definitions:
            self._handed = HandOver(self._handed.version + 1, definitions)
            self._known.clear()

    def _time_for(self, text: str) -> float:
        share = min(1.0, len(text) / _FULL_TIME_CHARACTERS)
        return self._cpu_seconds * max(_LEAST_SHARE, share)

    def warm(self) -> None:
        """Start analyzers before the first statement comes, which would wait for them."""
        self.pool.warm()

    async def close(self) -> None:
        """End the analyzers."""
        await self.pool.close()


def _is_same_in_batch(answer: Answer, pending: Pending) -> bool:
    """Whether an answer holds after the statements before, and none is to be noted for those behind."""
    if not pending.is_empty:
        return False
    return answer.statement is None or answer.statement.kind in _MAKES_NOTHING


def _refuse_killer(death: AnalyzerDiedError) -> NoReturn:
    try:
        refuse(
            "analysis",
            "the process that judges statements died of this one, or took too long for it",
        )
    except StatementRefusedError as refusal:
        refusal.operator_detail = f"{refusal.detail}: {death}"
        raise
