"""DuckDB's parser and its own functions, asked on a connection that sees no user's data."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import orjson

from chronoduck.sql.definitions import Definitions, MacroBody
from chronoduck.sql.facts import StatementFacts
from chronoduck.sql.parsing_options import PARSING_OPTIONS
from chronoduck.sql.rules.refusals import refuse
from chronoduck.sql.walk import walk

__all__ = ["Builtins", "Scratch", "builtins", "macros_of"]

_SERIALIZE = (
    "SELECT json_serialize_sql($1::VARCHAR, skip_null := true, skip_empty := true, "
    "skip_default := true)"
)
_BUILTIN = "SELECT DISTINCT function_name FROM duckdb_functions()"
_BUILTIN_TYPES = "SELECT type_name FROM duckdb_types() WHERE internal"
_BUILTIN_VIEWS = (
    "SELECT view_name FROM duckdb_views() WHERE internal AND schema_name IN ('main', 'pg_catalog')"
)
_MACROS = """
SELECT function_name, parameters, macro_definition, function_type = 'table_macro'
FROM duckdb_functions() WHERE macro_definition IS NOT NULL AND internal = $1
"""


def macros_of(
    connection: duckdb.DuckDBPyConnection, *, internal: bool
) -> dict[str, tuple[MacroBody, ...]]:
    """Return the macros by lower-case name: DuckDB's own ones, or the others."""
    found: dict[str, tuple[MacroBody, ...]] = {}
    for written, parameters, body, is_table in connection.execute(_MACROS, [internal]).fetchall():
        name = str(written).lower()
        macro = MacroBody(
            name, tuple(str(part).lower() for part in parameters), str(body), bool(is_table)
        )
        found[name] = (*found.get(name, ()), macro)
    return found


@dataclass(frozen=True)
class Builtins:
    """DuckDB's own functions, types and views by name, and what its macros stand for."""

    names: frozenset[str]
    definitions: Definitions
    types: frozenset[str]
    views: frozenset[str]
    """Those that are found without the name of a schema."""


@functools.cache
def builtins() -> Builtins:
    """Return what DuckDB brings; read once, which takes 20 ms."""
    connection = _connect()
    try:
        names, types, views = (
            frozenset(str(row[0]).lower() for row in connection.execute(sql).fetchall())
            for sql in (_BUILTIN, _BUILTIN_TYPES, _BUILTIN_VIEWS)
        )
        macros = Definitions(macros=macros_of(connection, internal=True))
        return Builtins(names, macros, types, views)
    finally:
        connection.close()


def _connect() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:", config={**PARSING_OPTIONS, "memory_limit": "200MB"})


class Scratch:
    """An in-memory database without files, network or extensions; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = _connect()
        self._last: tuple[str, StatementFacts | None] = ("", None)
        """One text is asked about by several, one after the other."""

    def facts(self, sql: str) -> StatementFacts | None:
        """Return what one SELECT holds, None of anything that has no tree.

        Raises:
            StatementRefusedError: it is nested too deeply to be looked at.
        """
        text, facts = self._last
        if text != sql:
            facts = self._read(sql)
            self._last = (sql, facts)
        return facts

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._lock:
            return self._connection.execute(sql, parameters).fetchall()

    def _read(self, sql: str) -> StatementFacts | None:
        with self._lock:
            try:
                row = self._connection.execute(_SERIALIZE, [sql]).fetchone()
            except (duckdb.InternalException, duckdb.FatalException):
                # The instance is invalid after such an error; a fresh one costs a few ms.
                self._connection.close()
                self._connection = _connect()
                return None
            except (duckdb.Error, RuntimeError, ValueError):
                return None
        if row is None or row[0] is None:
            return None
        try:
            document = orjson.loads(row[0])
        except orjson.JSONDecodeError:
            refuse("nesting", "the statement is nested too deeply to be judged")
        if document.get("error") or len(document.get("statements", ())) != 1:
            return None
        return walk(document["statements"][0], sql)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
