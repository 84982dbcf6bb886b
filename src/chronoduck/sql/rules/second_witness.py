"""The guard's second witness: what it asks about statements without a tree, and what it refuses then."""

from __future__ import annotations

import string
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import duckdb

from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.sql.catalog_copy import words_of
from chronoduck.sql.cutting import target_of
from chronoduck.sql.definitions import DefinitionSource, MacroBody, ViewBody
from chronoduck.sql.engine_errors import translate
from chronoduck.sql.expansions import Expander
from chronoduck.sql.rules.functions import (
    ALLOWED_TABLE_FUNCTIONS,
    STORE_READERS,
    denial_of,
    is_known,
)
from chronoduck.sql.rules.growth import judge_facts
from chronoduck.sql.rules.instead import INSTEAD
from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.rules.stored_expressions import keeps_expressions, refuse_stored_lambda
from chronoduck.sql.scratch import Scratch, builtins
from chronoduck.sql.tokens import Token
from chronoduck.sql.witness import TOO_WIDE, Bound, Question, Unbound, Witness

__all__ = ["SecondWitness", "Subject"]

_HAS_TREES_OF_WRITES = not duckdb.__version__.startswith("1.")
"""From 2.0 on an INSERT, UPDATE or DELETE may be the body of a CTE, and so has a tree."""
_WRITES = frozenset({"insert", "update", "delete"})
_USERS_ERRORS = (
    duckdb.ProgrammingError,
    duckdb.DataError,
    duckdb.NotSupportedError,
    duckdb.IntegrityError,
)
_INERT = frozenset({"word", "quoted", "string", "number"})
_INERT_SIGNS = frozenset(". , ; + -".split())
_WORDS = set(string.ascii_letters + string.digits + "_.,() \t\r\n")
_HEAD = _WORDS | {'"'}
_ROWS = _WORDS | set(";+-")
_CONSTANTS = frozenset({"null", "true", "false", "default"})


@dataclass(frozen=True)
class Subject:
    """A statement whose parts were judged; ``bound_text`` is a PIVOT with lists of columns."""

    kind: str
    text: str
    tokens: Sequence[Token]
    pending: tuple[str, ...] = ()
    bound_text: str | None = None


class SecondWitness:
    """Judges whole statements; safe from any thread."""

    def __init__(self, live: DefinitionSource | None) -> None:
        """Without ``live`` nothing is known of a database, and statements that write are refused."""
        self._live = live
        self._witness: Witness | None = None
        self._lock = threading.Lock()
        self.was_unbound = False
        """Whether DuckDB did not bind the last statement: the definitions may be others by now."""

    def open(self) -> Witness:
        """Return DuckDB's side of it; opened once, which takes 50 ms."""
        with self._lock:
            if self._witness is None:
                self._witness = Witness(refused_functions())
                self._witness.open()
            return self._witness

    @property
    def is_open(self) -> bool:
        """Whether it answers without opening anything."""
        return self._witness is not None and self._witness.is_open

    def close(self) -> None:
        """Close the copy of the catalog."""
        if self._witness is not None:
            self._witness.close()

    def judge(
        self,
        subject: Subject,
        names: Expander,
        scratch: Scratch,
        judge_parts: Callable[[str], None],
    ) -> None:
        """Refuse what DuckDB reads in another way than the guard did.

        ``judge_parts`` judges the statement once more, as DuckDB writes it.

        Raises:
            StatementRefusedError: it names what was not judged, or nothing can be said of it.
            DuckDBQueryError: DuckDB does not bind it.
        """
        self.was_unbound = False
        if subject.kind in _WRITES and _judge_tree(subject, names, scratch):
            return
        _refuse_system_names(subject.tokens)
        if _is_inert(subject) or _reads_store(subject.tokens, names):
            return
        answer = self._answer(subject, names)
        if answer is None:
            return
        if isinstance(answer, Unbound):
            if subject.bound_text is not None and answer.is_missing_column:
                return  # a column that the PIVOT makes of the data, which the copy has not
            _refuse_unbound(answer, subject.text)
        _judge_plan(answer)
        if answer.canonical is not None:
            judge_parts(answer.canonical)
        _judge_made(answer, names, scratch, keeps_expressions(subject.kind, subject.tokens))

    def _answer(self, subject: Subject, names: Expander) -> Bound | Unbound | None:
        if self._live is None:
            if subject.kind == "select":
                return None  # a template, which is judged again before it runs
            refuse("unreadable", "nothing is known of the database that the statement is for")
        used = _names_in(subject.tokens)
        question = Question(
            text=subject.text,
            kind=subject.kind,
            names=used,
            refused=frozenset(name for name in used if _is_refused(name, names)),
            pending=subject.pending,
            target=target_of(subject.tokens) if subject.kind == "create" else None,
            bound_text=subject.bound_text,
            wants_canonical=not _HAS_TREES_OF_WRITES,
        )
        witness = self.open()
        catalog = self._live.catalog()
        answer = witness.ask(question, catalog)
        if isinstance(answer, Unbound):
            # Not every change is a statement: what the service makes by itself is seen here.
            again = self._live.catalog(anew=True)
            if again.objects != catalog.objects:
                answer = witness.ask(question, again)
        if isinstance(answer, Unbound) and answer.error_class == TOO_WIDE:
            refuse("expansion", answer.message)
        self.was_unbound = isinstance(answer, Unbound)
        return answer


def refused_functions() -> frozenset[str]:
    """Return the functions of DuckDB that no statement may call, whoever sends it.

    The guard looks at the argument of ``current_setting``, and writers may use sequences.
    """
    return frozenset(
        name
        for name in builtins().names
        if name != "current_setting"
        and denial_of(name) != "sequence"
        and (denial_of(name) is not None or not (is_known(name) or name in ALLOWED_TABLE_FUNCTIONS))
    )


def _refuse_system_names(tokens: Sequence[Token]) -> None:
    """Refuse functions that are named with DuckDB's own catalog: nothing can hide those."""
    for index, token in enumerate(tokens[:-1]):
        if token.is_name and token.text == "system" and tokens[index + 1].text == ".":
            refuse("unreadable", "names of the catalog system are not used in such a statement")


def _judge_tree(subject: Subject, names: Expander, scratch: Scratch) -> bool:
    """Judge a write by its tree, if this version of DuckDB gives one.

    The text parses as one statement by itself, so its brackets are closed: as the body of a CTE it is
    the same statement.
    """
    if not _HAS_TREES_OF_WRITES:
        return False
    text = subject.text.rstrip("; \t\r\n")
    facts = scratch.facts(f"WITH chronoduck_whole AS (\n{text}\n) SELECT 1")
    if facts is None:
        return False
    judge_facts(facts, names)
    return True


def _is_inert(subject: Subject) -> bool:
    """Whether nothing in it can be called or read: it has no brackets, or only literals."""
    if subject.kind in ("drop", "alter", "checkpoint", "vacuum"):
        return all(
            token.kind in _INERT or token.text in _INERT_SIGNS for token in subject.tokens
        ) and all(token.text != "select" for token in subject.tokens)
    return subject.kind == "insert" and _inserts_literals(subject.text)


def _inserts_literals(text: str) -> bool:
    """Whether it inserts rows of plain literals, by its characters and by nobody's tokens.

    What stands outside of strings are ASCII words, numbers and brackets, no word touches a string,
    and behind VALUES there is no name: nothing in it can be anything else.
    """
    head, values, rows = text.partition("VALUES")
    if not values:
        head, values, rows = text.partition("values")
    if (
        not values
        or not head.isascii()
        or set(head) - _HEAD
        or head.split()[:1] not in (["INSERT"], ["insert"])
    ):
        return False
    outside = rows.split("'")[::2]
    plain = "".join(outside)
    if not plain.isascii() or set(plain) - _ROWS or "--" in plain:
        return False
    if any(part[-1:] not in ("(", ",", " ", "\n", "") for part in outside[:-1]):
        return False  # E'...' and X'...'
    words = "".join(" " if character in "(),;+-\n\t\r" else character for character in plain)
    return all(
        word.lower() in _CONSTANTS or word.replace(".", "", 1).isdigit() for word in words.split()
    )


def _reads_store(tokens: Sequence[Token], names: Expander) -> bool:
    """Whether an admin reads objects of the store: the copy has no network to bind them by."""
    return names.may_read_stores and any(
        token.is_name and token.text in STORE_READERS for token in tokens
    )


def _names_in(tokens: Sequence[Token]) -> frozenset[str]:
    """Return the names that the guard saw; a string may be the name of a sequence or table."""
    found = {token.text for token in tokens if token.is_name or token.kind == "string"}
    for token in tokens:
        if token.kind == "string":
            found |= words_of(token.text)
    return frozenset(name.lower() for name in found)


def _is_refused(name: str, names: Expander) -> bool:
    """Whether a view or macro of that name is for no statement, as far as the guard says."""
    macro = names.macro(name) if names.has_macro(name) else None
    view = names.view(name)
    return any(found is not None and found.refusal is not None for found in (macro, view))


def _refuse_unbound(answer: Unbound, text: str) -> NoReturn:
    """Raise what keeps a statement from being bound.

    Raises:
        StatementRefusedError: it would reach outside of what was judged.
        DuckDBQueryError: it is wrong in itself.
    """
    error_class = getattr(duckdb, answer.error_class, None)
    if error_class is duckdb.PermissionException:
        refuse("files", "the statement reads or writes a file")
    if answer.is_outside:
        refuse("unreadable", "DuckDB reads a name in the statement that was not judged")
    if not isinstance(error_class, type) or not issubclass(error_class, _USERS_ERRORS):
        refuse("unreadable", "DuckDB cannot say what the statement does")
    error = error_class(answer.message)
    raise translate(error, text) from error


def _judge_plan(answer: Bound) -> None:
    for path in answer.plan.tables:
        if OWN_SCHEMA in path[:-1]:
            refuse("own-tables", f"{OWN_SCHEMA} holds what the service keeps for itself")
    for name in sorted(answer.plan.table_functions - ALLOWED_TABLE_FUNCTIONS):
        refuse(
            denial_of(name) or "table-function",
            f"the statement comes down to {name}()",
            INSTEAD.get(name),
        )
    for name in sorted(answer.plan.functions):
        rule = denial_of(name)
        if rule is not None and rule != "sequence" and name != "current_setting":
            refuse(rule, f"the statement comes down to {name}()", INSTEAD.get(name))


def _judge_made(answer: Bound, names: Expander, scratch: Scratch, keeps: bool) -> None:
    for sql in answer.views:
        names.judge_body(ViewBody("", sql))
    for name, parameters, body, is_table in answer.macros:
        names.judge_body(MacroBody(name, parameters, body, is_table))
    for expression in answer.expressions:
        facts = scratch.facts(f"SELECT ({expression}\n)")
        if facts is None:
            refuse("unreadable", "an expression of the table cannot be read")
        if judge_facts(facts, names).has_lambda and keeps:
            refuse_stored_lambda()
