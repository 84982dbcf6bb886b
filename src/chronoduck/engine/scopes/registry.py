"""The catalogues of scopes: attached when first used, kept like the database's, detached when idle."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import duckdb

from chronoduck.engine.database import Connection, DuckDBInstance
from chronoduck.engine.scopes.errors import is_about_names, scrubbed
from chronoduck.engine.tables import quoted
from chronoduck.errors import (
    BatchError,
    DuckDBException,
    DuckDBQueryError,
    InvalidRequestError,
    PermissionDeniedError,
    RowFilterError,
    StatementRefusedError,
)
from chronoduck.logs import get_logger
from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.principals import Principal, Role, Scope
from chronoduck.sql.engine_errors import translate
from chronoduck.sql.rules.refusals import RULES
from chronoduck.sql.scopes.names import Names, Syntax, check_names, folded
from chronoduck.sql.scopes.plan import (
    CATALOG_PREFIX,
    Relation,
    ScopePlan,
    ScopeView,
    plan_scope,
)
from chronoduck.sql.statements import Statement

__all__ = [
    "Attached",
    "NarrowedConnection",
    "Scopes",
    "check_reader",
    "has_filters",
    "make_catalog",
    "plan_for",
    "refuse_problems",
]

T = TypeVar("T")
_MAX_ATTACHED = 64
"""Scopes that stay attached while nobody uses them: 100 KB each and 3 KB for each table."""
_LEAVES_CATALOG = frozenset(
    ["select", "insert", "update", "delete", "merge_into", "copy", "checkpoint", "invalid"]
)
_RELATIONS = f"""
SELECT c.schema_name, c.table_name, list((c.column_name, c.data_type) ORDER BY c.column_index),
       any_value(v.sql)
FROM duckdb_columns() c
LEFT JOIN duckdb_views() v ON v.database_name = c.database_name
  AND v.schema_name = c.schema_name AND v.view_name = c.table_name
WHERE c.database_name = current_database() AND NOT c.internal AND c.schema_name <> '{OWN_SCHEMA}'
GROUP BY 1, 2 ORDER BY 1, 2
"""
_COLUMNS = """
SELECT schema_name, table_name, list((column_name, data_type) ORDER BY column_index)
FROM duckdb_columns() WHERE database_name = $1 AND NOT internal GROUP BY 1, 2
"""


def has_filters(scope: Scope) -> bool:
    """Whether some rows of a table are hidden from the scope."""
    return any(grant.row_filter is not None for grant in scope.tables)


def plan_for(
    connection: Connection | duckdb.DuckDBPyConnection, scope: Scope, syntax: Syntax
) -> ScopePlan:
    """Return what of its database the connection would show to the scope."""
    rows = connection.execute(_RELATIONS).fetchall()
    relations = [Relation(row[0], row[1], tuple(map(tuple, row[2])), row[3]) for row in rows]
    database = connection.execute("SELECT current_database()").fetchall()[0][0]
    return plan_scope(scope, str(database), relations, syntax)


def make_catalog(
    connection: Connection | duckdb.DuckDBPyConnection, wanted: ScopePlan, catalog: str
) -> ScopePlan:
    """Attach a catalogue and make its views; return the plan without those that cannot be made."""
    connection.execute(f"ATTACH ':memory:' AS {quoted(catalog)} (READ_WRITE)")
    # A view's body sees what its scope sees, and nothing else, from the first moment on.
    connection.execute(f"USE {quoted(catalog)}.main")
    set_variables(connection, wanted)
    made: list[ScopeView] = []
    problems = list(wanted.problems)
    broken = set(wanted.broken)
    for schema in wanted.schemas:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(catalog)}.{quoted(schema)}")
    for view in wanted.views:
        try:
            connection.execute(view.create(catalog))
            made.append(view)
        except duckdb.Error as error:
            problems.append(f"{view.schema}.{view.name}: {translate(error)}")
            if not view.is_whole:
                broken.add((folded(view.schema), folded(view.name)))
    connection.execute("RESET search_path")
    return replace(
        wanted,
        views=_as_made(connection, made, catalog),
        problems=tuple(problems),
        broken=frozenset(broken),
    )


def refuse_problems(plan: ScopePlan) -> None:
    """Refuse a new key whose scope could not be kept.

    Raises:
        InvalidRequestError: names everything that is wrong.
    """
    if plan.problems:
        raise InvalidRequestError(
            "; ".join(plan.problems), hint="A scope grants tables and views that exist."
        )
    if plan.missing:
        named = ", ".join(f"${name}" if name.startswith("claim") else "?" for name in plan.missing)
        raise InvalidRequestError(
            f"a row filter names {named}, which the key is not given",
            hint="Give it with the key: --claim sub=7, or claims in the body of the request.",
        )


def set_variables(connection: Connection | duckdb.DuckDBPyConnection, plan: ScopePlan) -> None:
    """Have the connection know the values that the plan's filters name."""
    for name, value in plan.variables:
        bound = list(value) if isinstance(value, tuple) else value
        connection.execute(f"SET VARIABLE {name} = $1", [bound])


def _as_made(
    connection: Connection | duckdb.DuckDBPyConnection, made: list[ScopeView], catalog: str
) -> tuple[ScopeView, ...]:
    """Return the views with their columns as the catalogue has them.

    A user's view over a filtered table has other types here than in the database.
    """
    rows = connection.execute(_COLUMNS, [catalog]).fetchall()
    columns = {(schema, name): tuple(map(tuple, each)) for schema, name, each in rows}
    return tuple(
        replace(view, columns=columns.get((view.schema, view.name), view.columns)) for view in made
    )


@dataclass
class Attached:
    """One scope's catalogue: never changed, but replaced when the database's has changed."""

    catalog: str
    generation: int
    version: int
    """State of the database's catalogue that it was last compared with."""
    wanted: ScopePlan
    plan: ScopePlan
    """What of it could be made."""
    users: int = 0


class Scopes:
    """Keeps a catalogue of views for each scope in use.

    Everything but ``judge`` and ``note`` may block on the engine: call it in worker threads.
    """

    def __init__(self, instance: DuckDBInstance) -> None:
        self._instance = instance
        self._syntax: Syntax | None = None
        self._lock = threading.Lock()
        self._attached: OrderedDict[Scope, Attached] = OrderedDict()
        self._retired: list[Attached] = []
        """Replaced, and detached when their last user has left."""
        self._count = 0
        self._version = 0
        self._log = get_logger("scopes")

    # --- on the event loop --------------------------------------------------------------------

    def judge(self, statement: Statement, principal: Principal, names: Names | None) -> None:
        """Refuse what a narrowed principal may not send, whatever its catalogue holds.

        ``names``: what an analyzer says that the SELECT names.

        Raises:
            PermissionDeniedError: its role would let it write.
            StatementRefusedError: not a SELECT, or one that could see outside of the scope.
        """
        scope = principal.scope
        if scope is None:
            return
        check_reader(principal)
        if statement.kind != "select":
            raise StatementRefusedError(
                f"this key sees a part of the database and only runs SELECT, not "
                f"{statement.kind.upper()}",
                hint="SHOW TABLES, DESCRIBE and SUMMARIZE are run too.",
                rule="scope",
            )
        if names is None:
            raise StatementRefusedError(
                "the statement could not be judged", hint=RULES["scope"], rule="scope"
            )
        whole = {folded(name) for name in scope.schemas}
        granted = {(folded(grant.schema), folded(grant.name)) for grant in scope.tables}

        def is_table(schema: str, name: str) -> bool:
            """Whether it is in the scope if it is there, which is looked at right before the run."""
            place = schema or "main"
            return place in whole or (place, name) in granted

        schemas = whole | {schema for schema, _ in granted} | {"main"}
        check_names(names, self.syntax, schemas, is_table)

    def note(self, kind: str) -> None:
        """Say that a statement of this kind has ended: tables and views may be others now."""
        if kind not in _LEAVES_CATALOG:
            self._version += 1

    @property
    def syntax(self) -> Syntax:
        """The parser; made when first needed (20 ms)."""
        if self._syntax is None:
            self._syntax = Syntax()
        return self._syntax

    # --- in worker threads --------------------------------------------------------------------

    def check(self, scope: Scope) -> None:
        """Refuse a scope that could not be kept now: a missing table, a filter that is not one.

        Raises:
            InvalidRequestError: names everything that is wrong.
        """
        with self._lock:
            connection = self._instance.cursor()
            try:
                made = self._make(connection, self._plan(connection, scope))
                self._detach(connection, made)
            except duckdb.Error as error:
                raise translate(error) from error
            finally:
                connection.close()
        refuse_problems(made.plan)

    def plan(self, scope: Scope) -> ScopePlan:
        """Return what the scope holds now."""
        with self._lock:
            return self._current(scope).plan

    def enter(self, connection: Connection, scope: Scope) -> Attached:
        """Have the connection see the scope alone, until ``leave`` or until it is closed.

        The caller says ``left`` in every case.
        """
        with self._lock:
            attached = self._current(scope)
            attached.users += 1
        try:
            connection.execute(f"USE {quoted(attached.catalog)}.main")
            set_variables(connection, attached.plan)
        except duckdb.Error as error:
            self.left(attached)
            raise translate(error) from error
        return attached

    def left(self, attached: Attached) -> None:
        """Say that a connection that entered does not use the catalogue any more."""
        with self._lock:
            attached.users -= 1

    def refresh(self, scope: Scope) -> bool:
        """Look at the database's catalogue now; return whether the scope's was behind."""
        with self._lock:
            before = self._current(scope)
            before.version = -1
            return self._current(scope) is not before

    def explained(self, scope: Scope, error: DuckDBException) -> DuckDBException:
        """Return the error as its principal may see it; a filter that does not fit is one of its own."""
        cause = error.cause if isinstance(error, BatchError) else error
        missing = cause.missing if isinstance(cause, DuckDBQueryError) else None
        with self._lock:
            found = self._attached.get(scope)
        if missing is not None and found is not None:
            name = folded(missing[1].rpartition(".")[2])
            if any(name == each for _, each in found.plan.broken):
                return RowFilterError.because(found.plan.problems)
        return scrubbed(error)

    def close(self) -> None:
        """Close the parser; the catalogues go with their instance."""
        if self._syntax is not None:
            self._syntax.close()

    def _current(self, scope: Scope) -> Attached:
        found = self._attached.get(scope)
        if found is not None and found.generation != self._instance.generation:
            found = None
        if found is not None and found.version == self._version:
            self._attached.move_to_end(scope)
            return found
        version = self._version  # what changes while it is looked at is looked at again
        connection = self._instance.cursor()
        try:
            wanted = self._plan(connection, scope)
            if found is None or found.wanted != wanted:
                if found is not None:
                    self._retired.append(found)
                found = self._attached[scope] = self._make(connection, wanted)
                for problem in found.plan.problems:
                    self._log.warning("scope_grant_not_kept", problem=problem)
            found.version = version
            self._attached.move_to_end(scope)
            self._detach_idle(connection)
        except duckdb.Error as error:
            raise translate(error) from error
        finally:
            connection.close()
        return found

    def _plan(self, connection: Connection, scope: Scope) -> ScopePlan:
        return plan_for(connection, scope, self.syntax)

    def _make(self, connection: Connection, wanted: ScopePlan) -> Attached:
        self._count += 1
        catalog = f"{CATALOG_PREFIX}{self._count}"
        generation = self._instance.generation
        plan = make_catalog(connection, wanted, catalog)
        return Attached(catalog, generation, self._version, wanted, plan)

    def _detach_idle(self, connection: Connection) -> None:
        for scope, attached in list(self._attached.items())[:-_MAX_ATTACHED]:
            del self._attached[scope]
            self._retired.append(attached)
        waiting, self._retired = self._retired, []
        for attached in waiting:
            if attached.generation != self._instance.generation:
                continue  # it went with its instance
            if attached.users > 0:
                self._retired.append(attached)
            else:
                self._detach(connection, attached)

    def _detach(self, connection: Connection, attached: Attached) -> None:
        connection.execute(f"DETACH {quoted(attached.catalog)}")


class NarrowedConnection:
    """One session's way into its scope: enters before its first step, leaves when it is reused."""

    def __init__(self, scopes: Scopes, scope: Scope) -> None:
        self._scopes = scopes
        self._scope = scope
        self._attached: Attached | None = None

    def run(self, connection: Connection, step: Callable[[Connection], T]) -> T:
        """Run the step inside the scope; in a worker thread.

        A first step that fails for a name is run once more when the catalogue was behind: what it
        ran is only read.
        """
        is_first = self._attached is None
        try:
            if self._attached is None:
                self._attached = self._scopes.enter(connection, self._scope)
            return step(connection)
        except DuckDBException as error:
            if is_first and is_about_names(error) and self._scopes.refresh(self._scope):
                self.abandon()
                with suppress(duckdb.Error):  # the read-only transaction that it may have begun
                    connection.execute("ROLLBACK")
                return self.run_again(connection, step)
            raise self._scopes.explained(self._scope, error) from None

    def run_again(self, connection: Connection, step: Callable[[Connection], T]) -> T:
        """Enter the scope as it is now and run the step a last time."""
        try:
            self._attached = self._scopes.enter(connection, self._scope)
            return step(connection)
        except DuckDBException as error:
            raise self._scopes.explained(self._scope, error) from None

    def leave(self, connection: Connection) -> bool:
        """Have the connection see the database again; return whether it does. In a worker thread."""
        try:
            connection.execute("RESET search_path")
            if self._attached is not None:
                for name, _ in self._attached.plan.variables:
                    connection.execute(f"RESET VARIABLE {name}")
        except (duckdb.Error, DuckDBException):
            return False
        finally:
            self.abandon()
        return True

    def abandon(self) -> None:
        """Say that the scope is not used any more."""
        attached, self._attached = self._attached, None
        if attached is not None:
            self._scopes.left(attached)


def check_reader(principal: Principal) -> None:
    """Refuse a principal that is narrowed and could write more than its narrowing says.

    Raises:
        PermissionDeniedError: it is one.
    """
    if principal.scope is not None and principal.role.includes(Role.WRITER):
        raise PermissionDeniedError(
            f"{principal.name} sees a part of the database and may not be a {principal.role}",
            hint="A narrowed key is a viewer or an analyst.",
        )
    if principal.writes is not None and principal.role.includes(Role.ADMIN):
        raise PermissionDeniedError(
            f"{principal.name} writes a part of the database and may not be an {principal.role}",
            hint="A key that writes a part is a writer.",
        )
