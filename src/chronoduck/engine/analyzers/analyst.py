"""What runs in an analyzer: one question after the other, each within its CPU time."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import socket
import time
from typing import NoReturn

from chronoduck.engine.analyzers.messages import (
    HEADER,
    Answer,
    FilterQuestion,
    HandOver,
    Question,
    answer_frame,
    error_fields,
)
from chronoduck.engine.analyzers.text_bounds import check_text
from chronoduck.engine.kernel.enclosure import KernelWalls
from chronoduck.errors import DuckDBException, DuckDBQueryError, InvalidRequestError
from chronoduck.sql.catalog_copy import CatalogCopy
from chronoduck.sql.definitions import EMPTY, CatalogWantedError, Definitions
from chronoduck.sql.guard import Guard, Pending
from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.scopes.filters import check_form
from chronoduck.sql.scopes.names import Syntax, names_of
from chronoduck.sql.scratch import builtins
from chronoduck.sql.statements import StatementParser

__all__ = ["Analyst", "serve"]

_TIRED_KB = 150_000
"""How much an analyzer may grow before it is replaced: what it remembers, and heaps that are torn."""


class _Handed:
    """The definitions that the service has handed over."""

    def __init__(self) -> None:
        self.definitions: Definitions = EMPTY
        self.copy: CatalogCopy | None = None

    def current(self) -> Definitions:
        """Return the macros and views."""
        return self.definitions

    def catalog(self, *, anew: bool = False) -> CatalogCopy:
        """Return all definitions.

        Raises:
            CatalogWantedError: they were not handed over.
        """
        if self.copy is None:
            raise CatalogWantedError
        return self.copy


class Analyst:
    """Judges what it is asked. Making one takes 0.1 s of CPU time; it is made once, then forked."""

    def __init__(self, *, has_stores: bool) -> None:
        parser = StatementParser()
        self._handed = _Handed()
        self._guard = Guard(parser, self._handed, has_stores=has_stores)
        self._blind_guard = Guard(parser, knows_tables=False)
        self._syntax = Syntax()
        builtins()  # nothing can be opened later
        self._guard.witness.open()
        self._peak_kb = _peak_kb()

    def take(self, handed: HandOver) -> None:
        """Take what the service hands over."""
        self._handed.definitions = handed.definitions
        self._handed.copy = handed.catalog

    def answer(self, question: Question | FilterQuestion) -> Answer:
        """Return the judgement; never raises."""
        started = time.process_time()
        try:
            if isinstance(question, Question):
                answer = self._judge(question)
            else:
                check_text(f"SELECT ({question.text}\n)", may_be_bulk=False)
                check_form(question.text, question.table, self._syntax)
                answer = Answer()
        except CatalogWantedError:
            answer = Answer(wants_catalog=True)
        except (DuckDBQueryError, InvalidRequestError) as error:
            # After an internal error of the parser its connection is of no use, and it opens no other.
            is_spent = getattr(error, "rule", None) == "unreadable"
            answer = Answer(
                error=error_fields(error),
                is_tired=is_spent,
                wants_catalog=self._guard.witness.was_unbound,
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the text was not judged
            answer = Answer(error=error_fields(_not_judged(error)), is_tired=True)
        is_tired = (
            answer.is_tired
            or _peak_kb() > self._peak_kb + _TIRED_KB
            or not self._guard.witness.is_open  # and it could not open another
        )
        return Answer(
            answer.statement,
            answer.names,
            answer.created,
            answer.error,
            time.process_time() - started,
            is_tired,
            answer.statements,
            answer.wants_catalog,
        )

    def _judge(self, question: Question) -> Answer:
        sql = question.sql
        self._guard.witness.was_unbound = False
        check_text(sql, may_be_bulk=True)
        pending = None
        if question.created is not None:
            pending = Pending()
            pending.created, pending.statements = question.created, question.statements
        guard = self._blind_guard if question.is_narrowed else self._guard
        statement = guard.judge(sql, question.role, question.origin, pending)
        names = None
        if question.is_narrowed and statement.kind == "select":
            names = names_of(guard.scratch.facts(statement.text))
        if pending is None:
            return Answer(statement, names)
        return Answer(statement, names, pending.created, statements=pending.statements)


def _not_judged(error: Exception) -> DuckDBException:
    """Return the refusal of a text that made the parser fail: out of memory, too deep."""
    try:
        refuse("analysis", "the statement could not be judged")
    except DuckDBQueryError as refusal:
        refusal.operator_detail = f"the statement could not be judged: {error!r}"
        return refusal


def _framed(answer: Answer) -> bytes:
    try:
        return answer_frame(answer)
    except TypeError as error:
        return answer_frame(Answer(error=error_fields(_not_judged(error))))


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def serve(connection: socket.socket, analyst: Analyst, walls: KernelWalls) -> NoReturn:
    """Say which walls stand, then answer questions until the service closes its end, or one takes too
    long."""
    connection.sendall(HEADER.pack(walls))
    with connection.makefile("rb") as questions:
        while len(header := questions.read(HEADER.size)) == HEADER.size:
            (length,) = HEADER.unpack(header)
            message = pickle.loads(questions.read(length))  # noqa: S301 - the service's own
            if isinstance(message, HandOver):
                analyst.take(message)
                continue
            # The kernel ends the process: Python would not come to it while the parser runs.
            signal.setitimer(signal.ITIMER_PROF, message.cpu_seconds)
            answer = _framed(analyst.answer(message))
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            connection.sendall(answer)
    os._exit(0)
