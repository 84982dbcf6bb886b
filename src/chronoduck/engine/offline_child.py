"""``python -m chronoduck.engine.offline_child``: one attempt at a database file, for a waiting process.

The request is a line of JSON on standard input. Stages, progress, and the result or the refusal are
lines on standard output. It ends with its parent, and when its CPU time is used up. It stands outside
of the package ``offline`` because that imports numpy and the settings, which cost half its start.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import pickle
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from chronoduck.engine.compaction import compact_file
from chronoduck.engine.inspection import inspect_database, read_table
from chronoduck.engine.opening_options import OPENING_OPTIONS
from chronoduck.engine.poisoned_values import dependents_of, try_columns
from chronoduck.engine.tables import fresh_catalog
from chronoduck.errors import DuckDBException
from chronoduck.sql.engine_errors import first_sentence

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
Say = Callable[..., None]
_TABLES = (
    "SELECT schema_name, table_name FROM duckdb_tables() "
    "WHERE NOT internal AND NOT temporary AND database_name = current_database() ORDER BY ALL"
)


def main() -> int:
    """Do the attempt."""
    _end_with(int(os.environ.get("CHRONODUCK_PARENT", os.getppid())))
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # nothing but messages may get into the pipe
    request = json.loads(sys.stdin.buffer.readline())
    _limit(request.pop("cpu"))
    stage = "opened"

    def say(**fields: Any) -> None:
        nonlocal stage
        stage = fields.get("stage", stage)
        out.write(json.dumps(fields).encode() + b"\n")

    try:
        action = _ACTIONS[request.pop("do")]
        result = action(Path(request.pop("database")), say, **request)
    except (duckdb.Error, RuntimeError, ValueError) as error:  # UnicodeDecodeError: a damaged name
        say(refused=first_sentence(error), stage=stage)
    except DuckDBException as error:
        say(refused=error.operator_detail, stage=stage, is_sentence=True)
    except MemoryError:
        say(refused="there was not enough memory", stage=stage)
    else:
        say(result=result)
    # Closing could checkpoint, or hang: what was asked for is done.
    os._exit(0)


def _end_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _limit(cpu_seconds: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))  # the server's bound is not this process's
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold users' data
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))


def _connect(path: str, memory_limit: str, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Open it as a start does: with other options DuckDB may replay a WAL that the start refuses."""
    return duckdb.connect(
        path, read_only=read_only, config=OPENING_OPTIONS | {"memory_limit": memory_limit}
    )


def _open(
    database: Path, say: Say, *, memory_limit: str, read_only: bool = False
) -> dict[str, Any]:
    """Open it and look at its catalog; nothing is closed, so that no checkpoint changes it."""
    connection = _connect(str(database), memory_limit, read_only=read_only)
    return {"tables": len(connection.execute(_TABLES).fetchall())}


def _checkpoint(database: Path, say: Say, *, memory_limit: str, attach: bool) -> dict[str, Any]:
    """Open it, take the WAL into the file, close it, and open it again with as many rows."""
    if attach:
        connection = _connect(":memory:", memory_limit)
        name, path = fresh_catalog("subject"), str(database).replace("'", "''")
        connection.execute(f"ATTACH '{path}' AS {name}")
        connection.execute(f"USE {name}.main")
    else:
        connection = _connect(str(database), memory_limit)
    before = _count(connection)
    say(stage="checkpointed")
    connection.execute("CHECKPOINT")
    after = _count(connection)
    connection.close()
    say(stage="opened again")
    again = _connect(str(database), memory_limit, read_only=True)
    rows = _count(again)
    again.close()
    if not before == after == rows:
        return _refuse("its tables had other rows after the checkpoint")
    return {"rows": sum(rows.values())}


def _count(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    return {
        f"{schema}.{table}": read_table(connection, schema, table, full=False).rows
        for schema, table in connection.execute(_TABLES).fetchall()
    }


def _refuse(sentence: str) -> dict[str, Any]:
    raise duckdb.InternalException(sentence)


def _copy(database: Path, say: Say, *, target: str) -> dict[str, Any]:
    """Write what is in it into a new file, table by table, and compare."""
    say(stage="copied")
    return {
        "rows": compact_file(
            database, Path(target), lambda done, total: say(done=done, total=total)
        )
    }


def _inspect(
    database: Path, say: Say, *, full: bool, checkpoint: bool, memory_limit: str
) -> dict[str, Any]:
    found = inspect_database(
        database,
        full=full,
        checkpoint=checkpoint,
        memory_limit=memory_limit,
        on_progress=lambda done, total: say(done=done, total=total),
        on_stage=lambda stage: say(stage=stage),
    )
    return {"inspection": base64.b64encode(pickle.dumps(found)).decode()}


def _try(
    database: Path, say: Say, *, skipped: list[str], dead: list[str], memory_limit: str
) -> dict[str, Any]:
    """Try the values of all columns but some; what is ``dead`` are tables that ended others."""
    connection = _connect(str(database), memory_limit, read_only=True)
    found = try_columns(connection, skipped, lambda stage: say(stage=stage))
    tables = {*dead, *(column.table for column in found)}
    return {
        "columns": [
            [column.schema, column.table, column.column, column.type, column.reason]
            for column in found
        ],
        "names": dependents_of(connection, tables) if tables else [],
    }


_ACTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "open": _open,
    "checkpoint": _checkpoint,
    "copy": _copy,
    "inspect": _inspect,
    "try": _try,
}

if __name__ == "__main__":
    sys.exit(main())
