"""The second witness: what DuckDB binds a whole statement to, on a copy of the catalog.

Where DuckDB gives no tree of a statement, the guard judges parts that it has cut out of the text. That
such a cut is right cannot be seen from the text: every cut concatenates to it. So DuckDB binds the
very text on an empty database that knows only the objects whose names were judged, and in which the
refused functions are hidden. A name outside of them does not bind, and no file can be opened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb
import orjson

from chronoduck.sql.catalog_copy import CatalogCopy, CatalogObject, quoted
from chronoduck.sql.copied_database import CopiedDatabases
from chronoduck.sql.plans import PlanNames, read_plan

__all__ = ["TOO_WIDE", "Bound", "Question", "Unbound", "Witness", "definition_length"]

_EXPLAIN = "EXPLAIN (FORMAT json) "
_PREPARE = "PREPARE chronoduck_witness AS\n"
_PREPARED = "SELECT statement FROM duckdb_prepared_statements() WHERE name = 'chronoduck_witness'"
_PREPARABLE = frozenset({"insert", "update", "delete"})
TOO_WIDE = "TooWide"
_MAX_DEFINITIONS = 100_000
_COLUMN_TYPES = (
    "SELECT coalesce(sum(length(data_type)), 0) FROM duckdb_columns() "
    "WHERE NOT internal AND length(data_type) > 40 AND database_name <> 'chronoduck_walls'"
)
_OWN_TYPES = (
    "SELECT schema_name, type_name FROM duckdb_types() "
    "WHERE NOT internal AND database_name = current_database()"
)
_WHOLE_OBJECTS = 200
"""A larger catalog is not copied as a whole for the sake of a better error."""
_VIEWS = "SELECT sql FROM duckdb_views() WHERE NOT internal"
_MACROS = (
    "SELECT function_name, parameters, macro_definition, function_type = 'table_macro' "
    "FROM duckdb_functions() WHERE macro_definition IS NOT NULL AND NOT internal "
    "AND database_name <> 'chronoduck_walls'"
)
_EXPRESSIONS = (
    "SELECT column_default FROM duckdb_columns() WHERE NOT internal AND column_default IS NOT NULL "
    "UNION ALL SELECT expression FROM duckdb_constraints() WHERE expression IS NOT NULL"
)


@dataclass(frozen=True)
class Question:
    """A statement and what was judged of it; a value that can be sent to another process.

    ``names``: the names it may refer to, in lower case. ``pending``: statements that run before it in
    its transaction. ``target``: what a CREATE IF NOT EXISTS makes. ``bound_text``: what is bound in
    place of a PIVOT whose columns come from the data. ``refused``: those of the names whose views and
    macros no statement may use: they are not copied, since to bind one may take seconds.
    """

    text: str
    kind: str
    names: frozenset[str]
    pending: tuple[str, ...] = ()
    target: str | None = None
    bound_text: str | None = None
    wants_canonical: bool = False
    refused: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Unbound:
    """DuckDB does not bind it. ``is_outside``: it would, if it might use names that nobody judged."""

    error_class: str
    message: str
    is_outside: bool = False

    @property
    def is_missing_column(self) -> bool:
        """Whether DuckDB misses a column, by its own kind of error."""
        return self._facts.get("error_subtype") == "COLUMN_NOT_FOUND"

    @property
    def missing_name(self) -> str | None:
        """The object that DuckDB misses, in lower case, if that is what is wrong."""
        facts = self._facts
        is_missing = facts.get("error_subtype") == "MISSING_ENTRY"
        return str(facts.get("name")).lower() if is_missing else None

    @property
    def _facts(self) -> dict[str, Any]:
        _, brace, body = self.message.partition("{")
        try:
            facts = orjson.loads(brace + body)
        except orjson.JSONDecodeError:
            return {}
        return facts if isinstance(facts, dict) else {}


@dataclass(frozen=True)
class Bound:
    """What DuckDB makes of the statement.

    ``canonical``: the statement as DuckDB writes it. ``views``, ``macros`` and ``expressions`` are
    what it defines, as DuckDB writes them; macros as (name, parameters, body, is a table macro).
    """

    plan: PlanNames = field(default_factory=PlanNames)
    canonical: str | None = None
    views: tuple[str, ...] = ()
    macros: tuple[tuple[str, tuple[str, ...], str, bool], ...] = ()
    expressions: tuple[str, ...] = ()


_DEFINING = frozenset({"create", "alter"})
_TOO_WIDE = Unbound(
    TOO_WIDE,
    f"the types of what it refers to take more than {_MAX_DEFINITIONS:,} characters to write",
)


class Witness:
    """Answers questions one by one; safe from any thread.

    A bind cannot be interrupted: whoever asks about texts of strangers does so in a process that may
    be ended. Measured: 2-4 ms.
    """

    def __init__(self, refused: Iterable[str] = ()) -> None:
        """``refused``: functions of DuckDB with which nothing is bound."""
        self._databases = CopiedDatabases(refused)

    def open(self) -> None:
        """Open what is needed for answers: 50 ms."""
        self._databases.open()

    @property
    def is_open(self) -> bool:
        """Whether all that is needed is open."""
        return self._databases.is_open

    def ask(self, question: Question, catalog: CatalogCopy) -> Bound | Unbound:
        """Return what the statement binds to among the names that were judged."""
        used = set(question.names)
        if question.pending:
            used |= {word for text in question.pending for word in _words(text)}
        objects = [
            item
            for item in catalog.named(used)
            if not (item.stub and item.name in question.refused)
        ]
        written = sum(len(item.sql) for item in objects if item.kind == "type")
        if question.kind in _DEFINING and written > _MAX_DEFINITIONS:
            return _TOO_WIDE  # before a copy is made of them
        if question.target is not None:
            without = [item for item in objects if item.name != question.target]
            answer = self._bind(question, catalog, without)
            if isinstance(answer, Bound) or len(without) == len(objects):
                return self._explained(answer, question, catalog, objects)
        return self._explained(self._bind(question, catalog, objects), question, catalog, objects)

    def close(self) -> None:
        """Close the copy."""
        self._databases.close()

    def _explained(
        self,
        answer: Bound | Unbound,
        question: Question,
        catalog: CatalogCopy,
        judged: Sequence[CatalogObject],
    ) -> Bound | Unbound:
        """Return the error that the whole catalog gives: it has the names that a user meant.

        A view or macro that was not judged is there by its name alone: to bind it may take seconds.
        """
        if isinstance(answer, Bound) or len(catalog.objects) > _WHOLE_OBJECTS:
            return answer
        known = {id(item) for item in judged}
        others = {item.name for item in catalog.objects if id(item) not in known}
        whole = [
            replace(item, sql=item.stub) if item.stub and id(item) not in known else item
            for item in catalog.objects
        ]
        again = self._bind(question, catalog, whole)
        if isinstance(again, Bound) or answer.missing_name in others:
            return Unbound(answer.error_class, answer.message, is_outside=True)
        return again

    def _bind(
        self, question: Question, catalog: CatalogCopy, objects: Sequence[CatalogObject]
    ) -> Bound | Unbound:
        with self._databases.holding(catalog.database, objects, question.pending) as cursor:
            try:
                return _bind(cursor, question)
            except (duckdb.Error, RuntimeError, ValueError) as error:
                return Unbound(type(error).__name__, str(error))


def definition_length(cursor: duckdb.DuckDBPyConnection) -> int:
    """Return how many characters the nested types of columns, and all own types, have together.

    A type of two fields of another one is twice as large: twenty in a row were 60 MB of catalog, and
    DuckDB did not stop for an interrupt.
    """
    row = cursor.execute(_COLUMN_TYPES).fetchone()
    total = 0 if row is None else int(row[0])
    for schema, name in cursor.execute(_OWN_TYPES).fetchall():
        path = f"{quoted(str(schema))}.{quoted(str(name))}"
        row = cursor.execute(f"SELECT length(typeof(NULL::{path}))").fetchone()
        total += 0 if row is None else int(row[0])
    return total


def _words(text: str) -> Collection[str]:
    return CatalogObject("statement", "", text).names


def _bind(cursor: duckdb.DuckDBPyConnection, question: Question) -> Bound | Unbound:
    if question.kind in _DEFINING and definition_length(cursor) > _MAX_DEFINITIONS:
        return _TOO_WIDE
    if question.kind == "alter":  # DuckDB's plan of it says nothing
        cursor.execute(question.text)
        return Bound(expressions=_expressions(cursor))
    plan = _explain(cursor, question.bound_text or question.text)
    names = read_plan(plan)
    if question.kind == "create" and not _runs_query(plan):
        cursor.execute(question.text)
        return _made(cursor, names, {str(node.get("name")) for node in plan})
    canonical = None
    if question.wants_canonical and question.kind in _PREPARABLE:
        cursor.execute(_PREPARE + question.text)
        row = cursor.execute(_PREPARED).fetchone()
        canonical = None if row is None else str(row[0])
    return Bound(names, canonical)


def _runs_query(plan: list[dict[str, Any]]) -> bool:
    """Whether a CREATE makes its rows or values by a query, which is bound here and not run."""
    return any(
        node.get("children") for node in plan if node.get("name") in ("CREATE_TABLE", "CREATE_TYPE")
    )


def _made(cursor: duckdb.DuckDBPyConnection, names: PlanNames, made: set[str]) -> Bound:
    """Return what was made, as DuckDB writes it; beside it stand the objects that it may use."""
    if "CREATE_VIEW" in made:
        return Bound(names, views=tuple(str(row[0]) for row in cursor.execute(_VIEWS).fetchall()))
    if "CREATE_MACRO" in made:
        macros = tuple(
            (
                str(name).lower(),
                tuple(str(part).lower() for part in parameters),
                str(body),
                bool(table),
            )
            for name, parameters, body, table in cursor.execute(_MACROS).fetchall()
        )
        return Bound(names, macros=macros)
    return Bound(names, expressions=_expressions(cursor) if "CREATE_TABLE" in made else ())


def _expressions(cursor: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    return tuple(str(row[0]) for row in cursor.execute(_EXPRESSIONS).fetchall())


def _explain(cursor: duckdb.DuckDBPyConnection, text: str) -> list[dict[str, Any]]:
    """Return the plan before it is optimized.

    Raises:
        duckdb.Error: it cannot be bound; positions are those in ``text``.
    """
    try:
        rows = cursor.execute(_EXPLAIN + text).fetchall()
    except duckdb.Error as error:
        raise _shifted(error) from error
    plan: list[dict[str, Any]] = orjson.loads(rows[0][1])
    return plan


def _shifted(error: duckdb.Error) -> duckdb.Error:
    head, brace, body = str(error).partition("{")
    try:
        facts = orjson.loads(brace + body)
        position = int(facts["position"]) - len(_EXPLAIN)
    except (orjson.JSONDecodeError, KeyError, ValueError, TypeError):
        return error
    facts["position"] = str(position)
    facts.pop("location", None)
    return type(error)(head + orjson.dumps(facts).decode())
