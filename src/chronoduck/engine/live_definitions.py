"""The macros and views of the open database, read again after statements that may change them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import duckdb

from chronoduck.errors import DuckDBConnectionError
from chronoduck.sql.catalog_copy import CatalogCopy, read_catalog
from chronoduck.sql.definitions import EMPTY, Definitions, ViewBody
from chronoduck.sql.engine_errors import translate
from chronoduck.sql.rules.file_names import tables_like_files
from chronoduck.sql.scratch import macros_of

__all__ = ["LiveDefinitions"]

_VIEWS = (
    "SELECT view_name, sql FROM duckdb_views() "
    "WHERE NOT internal AND database_name = current_database()"
)
_RELATIONS = (
    "SELECT schema_name, table_name FROM duckdb_tables() "
    "WHERE NOT temporary AND database_name = current_database() UNION ALL "
    "SELECT schema_name, view_name FROM duckdb_views() "
    "WHERE NOT internal AND NOT temporary AND database_name = current_database()"
)
_NO_DEFINITION = frozenset(
    ["select", "explain", "insert", "update", "delete", "merge_into", "invalid", "set", "pragma",
     "copy", "checkpoint", "vacuum"]
)  # fmt: skip
_DEFINED = ("macro", "function", "view", "schema", "database")
_SEARCHED_CHARACTERS = 100_000
"""A longer text, such as a whole batch, counts as one that changes a definition."""
_CHANGES = ("create", "drop", "alter")


class LiveDefinitions:
    """Reading them takes 1-20 ms, so it is done once after each change."""

    def __init__(
        self,
        connect: Callable[[], duckdb.DuckDBPyConnection],
        generation: Callable[[], int] = lambda: 0,
        commits: Callable[[], int] = lambda: 0,
    ) -> None:
        """``generation`` changes when the database was opened anew.

        ``commits`` grows before and after each COMMIT of DDL.
        """
        self._commits = commits
        self._settled_at: int | None = None
        """Up to which change ``_known`` is known to be what there is."""
        self._connect = connect
        self._generation = generation
        self._read_at: int | None = None
        self._is_stale = True
        self._known = EMPTY
        self._changes = 0
        """Counts the statements that may have changed any definition."""
        self._catalog: CatalogCopy | None = None
        self._catalog_read_at: tuple[int, int] | None = None
        self._lock = threading.Lock()

    @property
    def is_stale(self) -> bool:
        """Whether ``current`` will read them again."""
        return self._is_stale or self._generation() != self._read_at

    def note_statement(self, kind: str, sql: str) -> None:
        """Take notice of a statement that has ended, whoever sent it."""
        is_run_by_explain = kind == "explain" and "analy" in sql.lower()
        if kind in _NO_DEFINITION and not is_run_by_explain:
            return
        self._changes += 1
        if len(sql) > _SEARCHED_CHARACTERS or _may_define(sql.lower()):
            self._is_stale = True

    def current(self) -> Definitions:
        """Return the definitions as of the last statement that may have changed them."""
        if not self.is_stale:
            return self._known
        with self._lock:
            generation = self._generation()
            if self._is_stale or generation != self._read_at:
                self._is_stale = False  # before it is read: a change meanwhile sets it again
                before = self.changes
                try:
                    read = self._read()
                    if read != self._known:  # else what was judged by them still holds
                        self._known = read
                except (duckdb.Error, DuckDBConnectionError):
                    # It is being reopened: the same file, the same definitions.
                    self._is_stale = True
                else:
                    self._read_at, self._settled_at = generation, before
            return self._known

    def may_be_behind(self) -> bool:
        """Whether a table may have been made or dropped since ``current`` was read; then it is again."""
        if self.changes == self._settled_at:
            return False
        self._is_stale = True
        return True

    @property
    def changes(self) -> int:
        """How many statements have ended that may have changed a definition."""
        return self._changes + self._commits()

    def is_settled(self, definitions: Definitions) -> bool:
        """Whether these are the ones that there are now, as far as nothing has changed since."""
        return definitions is self._known and self.changes == self._settled_at

    def settle(
        self, definitions: Definitions, connection: duckdb.DuckDBPyConnection | None
    ) -> bool:
        """Read the definitions as a connection sees them, and return whether they are these.

        If not, ``current`` reads them anew, too.

        Raises:
            DuckDBException: the instance does not answer.
        """
        before = self.changes  # a change meanwhile is seen by the next one
        try:
            fresh = self._read() if connection is None else _read(connection)
        except duckdb.Error as error:
            raise translate(error) from error
        if fresh != definitions:
            self._is_stale = True
            return False
        if definitions is self._known:
            self._settled_at = before
        return True

    def catalog(self, *, anew: bool = False) -> CatalogCopy:
        """Return all definitions, tables too, as of the last statement that may have changed them.

        ``anew``: read them in any case. 5-50 ms after a change.
        """
        with self._lock:
            now = (self.changes, self._generation())
            if self._catalog is None or anew or now != self._catalog_read_at:
                connection = self._connect()
                try:
                    self._catalog = read_catalog(connection, now[0])
                finally:
                    connection.close()
                self._catalog_read_at = now
            return self._catalog

    def _read(self) -> Definitions:
        connection = self._connect()
        try:
            return _read(connection)
        finally:
            connection.close()


def _may_define(lowered: str) -> bool:
    """Whether a statement may change a view or macro, or the schema that it is in.

    A word inside another one counts too: then the definitions are read once too often.
    """
    return lowered.startswith("--") or (
        any(word in lowered for word in _DEFINED) and any(word in lowered for word in _CHANGES)
    )


def _read(connection: duckdb.DuckDBPyConnection) -> Definitions:
    views: dict[str, tuple[ViewBody, ...]] = {}
    for written, sql in connection.execute(_VIEWS).fetchall():
        name = str(written).lower()  # Python's, as everywhere here: DuckDB's is another
        views[name] = (*views.get(name, ()), ViewBody(name, str(sql)))
    files = tables_like_files(connection.execute(_RELATIONS).fetchall())
    return Definitions(macros_of(connection, internal=False), views, files)
