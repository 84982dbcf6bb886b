"""DuckDB's parser and its own functions, asked on a connection that sees no user's data."""

from __future__ import annotations

import threading
from typing import Any

import duckdb
import orjson

from chronoduck.engine.guard.definitions import Definitions, MacroBody
from chronoduck.engine.guard.rules import refuse
from chronoduck.engine.guard.tokens import normalized

__all__ = ["Scratch", "macros_of"]

_SERIALIZE = (
    "SELECT json_serialize_sql($1::VARCHAR, skip_null := true, skip_empty := true, "
    "skip_default := true)"
)
_BUILTIN = "SELECT DISTINCT lower(function_name) FROM duckdb_functions()"
_MACROS = """
SELECT lower(function_name), parameters, macro_definition, function_type = 'table_macro'
FROM duckdb_functions() WHERE macro_definition IS NOT NULL AND internal = $1
"""


def macros_of(
    connection: duckdb.DuckDBPyConnection, *, internal: bool
) -> dict[str, tuple[MacroBody, ...]]:
    """Return the macros by lower-case name: DuckDB's own ones, or the others."""
    found: dict[str, tuple[MacroBody, ...]] = {}
    for name, parameters, body, is_table in connection.execute(_MACROS, [internal]).fetchall():
        macro = MacroBody(
            name, tuple(str(part).lower() for part in parameters), str(body), bool(is_table)
        )
        found[name] = (*found.get(name, ()), macro)
    return found


class Scratch:
    """An in-memory database without files, network or extensions; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = self._connect()
        self.builtin_names = frozenset(
            str(row[0]) for row in self._connection.execute(_BUILTIN).fetchall()
        )
        self.builtin = Definitions(macros=macros_of(self._connection, internal=True))

    @staticmethod
    def _connect() -> duckdb.DuckDBPyConnection:
        return duckdb.connect(
            ":memory:",
            config={
                "enable_external_access": "false",
                "autoload_known_extensions": "false",
                "autoinstall_known_extensions": "false",
                "memory_limit": "200MB",
                "threads": "1",
            },
        )

    def tree(self, sql: str) -> dict[str, Any] | None:
        """Return the tree of one SELECT, None of anything that has none.

        Raises:
            StatementRefusedError: it is nested too deeply to be looked at.
        """
        with self._lock:
            try:
                row = self._connection.execute(_SERIALIZE, [normalized(sql)]).fetchone()
            except (duckdb.InternalException, duckdb.FatalException):
                # The instance is invalid after such an error; a fresh one costs a few ms.
                self._connection.close()
                self._connection = self._connect()
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
        tree: dict[str, Any] = document["statements"][0]
        return tree

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
