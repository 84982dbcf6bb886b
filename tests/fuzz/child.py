"""The processes that may die: one lives a program's life, one looks at what is left."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import duckdb

from chronoduck.engine.index_check import check_indexes
from chronoduck.engine.opening_options import OPENING_OPTIONS
from tests.fuzz.program import Life

__all__ = ["IS_NEW_ENGINE", "fingerprint", "live", "look"]

Tell = Callable[[str, Any], None]
IS_NEW_ENGINE = int(duckdb.__version__.split(".")[0]) >= 2
# Left out: index_count, which counts indexes that were rolled back until the next start, and a
# sequence's start_value, in whose place a checkpoint writes the next value.
_CATALOG = {
    "tables": "SELECT schema_name, table_name, sql, comment, has_primary_key, column_count, "
    "check_constraint_count FROM duckdb_tables()",
    "columns": "SELECT schema_name, table_name, column_name, column_index, data_type, column_default, "
    "is_nullable, comment FROM duckdb_columns()",
    "constraints": "SELECT schema_name, table_name, constraint_type, constraint_text, "
    "constraint_column_names::VARCHAR FROM duckdb_constraints()",
    "indexes": "SELECT schema_name, table_name, index_name, is_unique, expressions, sql, comment "
    "FROM duckdb_indexes()",
    "views": "SELECT schema_name, view_name, sql, comment FROM duckdb_views()",
    "sequences": "SELECT schema_name, sequence_name, increment_by, comment FROM duckdb_sequences()",
    "sequence values": "SELECT schema_name, sequence_name, last_value FROM duckdb_sequences()",
    "types": "SELECT schema_name, type_name, logical_type, labels::VARCHAR, comment "
    "FROM duckdb_types()",
    "macros": "SELECT schema_name, function_name, function_type, macro_definition, comment "
    "FROM duckdb_functions()",
    "schemas": "SELECT schema_name, '' FROM duckdb_schemas()",
}
_WITHOUT_INTERNAL = ("constraints", "indexes", "sequences", "sequence values")
_never_closed: list[duckdb.DuckDBPyConnection] = []
"""Connections of the living: DuckDB checkpoints when the last one is garbage."""
_KEYS = 100
_FATAL = (duckdb.FatalException, duckdb.InternalException)


def _open(path: str, storage: str, *, as_service: bool = True) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        path,
        config={
            **(OPENING_OPTIONS if as_service else {}),
            "errors_as_json": "false",
            "wal_autocheckpoint": "1TB",
            "storage_compatibility_version": storage,
            "threads": "2",
            "memory_limit": "500MB",
        },
    )


def fingerprint(
    connection: duckdb.DuckDBPyConnection, *, with_macros: bool = True
) -> dict[str, Any]:
    """Return the catalog and a hash of every table's rows, as a new transaction sees them.

    Listing macros takes DuckDB longer than all the rest: 18 ms.
    """
    found: dict[str, Any] = {}
    for what, sql in _CATALOG.items():
        if what == "macros" and not with_macros:
            continue
        rows = connection.execute(
            f"{sql} WHERE database_name = current_database() "
            f"{'' if what in _WITHOUT_INTERNAL else 'AND NOT internal '}ORDER BY ALL"
        ).fetchall()
        found[what] = [[None if value is None else _plain(value) for value in row] for row in rows]
    found["rows"] = {}
    for schema, table, *_ in found["tables"]:
        name = f'"{schema}"."{table}"'
        has_sums = {"id", "n"} <= {row[2] for row in found["columns"] if row[:2] == [schema, table]}
        sums = ", sum(id)::BIGINT, sum(n)::BIGINT" if has_sums else ""
        row = connection.execute(
            f"SELECT count(*), sum(hash(t)::HUGEINT)::VARCHAR{sums} FROM {name} t"
        ).fetchone()
        key = table if schema == "main" else f"{schema}.{table}"
        found["rows"][key] = list(row or ())
    return found


def _plain(value: object) -> str:
    """Return a value without quotes around names, which a replay sets otherwise."""
    return str(value).replace('"', "")


def live(path: str, storage: str, life: Life, tell: Tell, *, with_macros: bool) -> None:
    """Run every statement, tell how each ended, then what the living instance holds."""
    root = _open(path, storage)
    connections = [root, root.cursor()]
    _never_closed.extend(connections)
    open_transactions: set[int] = set()
    for number, step in enumerate(life.steps):
        tell("begins", number)
        connection = connections[step.connection]
        try:
            connection.execute(step.sql).fetchall()
        except _FATAL as error:
            tell("fatal", [number, _line(error)])
            return
        except duckdb.Error as error:
            tell("error", [number, _line(error)])
            if step.connection in open_transactions:
                open_transactions.discard(step.connection)
                try:
                    connection.execute("ROLLBACK")
                except duckdb.Error:
                    continue  # it was rolled back already
        else:
            tell("ok", number)
            word = step.sql.split()[0]
            if word == "BEGIN":
                open_transactions.add(step.connection)
            elif word in ("COMMIT", "ROLLBACK"):
                open_transactions.discard(step.connection)
    observer = root.cursor()
    try:
        tell("holds", fingerprint(observer, with_macros=with_macros))
        tell("indexes", [str(damage) for damage in check_indexes(observer, keys=_KEYS)])
    except _FATAL as error:
        tell("fatal", [len(life.steps), _line(error)])
        return
    if not life.is_killed:
        for connection in (observer, *reversed(connections)):
            connection.close()
        tell("closed", None)


def look(
    path: str, storage: str, tell: Tell, *, with_macros: bool, as_service: bool = True
) -> None:
    """Open what is left, tell what it holds, checkpoint, close, open again, tell once more.

    ``as_service``: with the options of the service's start, and not those of DuckDB alone.
    """
    try:
        tell("stage", "open")
        connection = _open(path, storage, as_service=as_service)
        tell("stage", "read")
        tell("holds", fingerprint(connection, with_macros=with_macros))
        tell("stage", "look up")
        damages = check_indexes(connection, keys=_KEYS, probe_constraints=True)
        tell("indexes", [str(damage) for damage in damages])
        tell("stage", "checkpoint")
        connection.execute("CHECKPOINT")
        tell("stage", "close")
        connection.close()
        tell("stage", "reopen")
        connection = _open(path, storage, as_service=as_service)
        tell("again", fingerprint(connection, with_macros=with_macros))
        tell("stage", "reopened look up")
        damages = check_indexes(connection, keys=_KEYS)
        tell("indexes again", [str(damage) for damage in damages])
        connection.close()
        tell("stage", "done")
    except duckdb.Error as error:
        tell("failed", _line(error))


def teller(descriptor: int) -> Tell:
    """Return what writes facts as lines; each is out of the process before the next statement."""

    def tell(what: str, fact: Any) -> None:
        data = json.dumps([what, fact], default=str).encode() + b"\n"
        while data:
            data = data[os.write(descriptor, data) :]

    return tell


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0]}"[:300]
