"""A child that dies or hangs when it opens a WAL of more than some bytes, and else does its work.

``python openers.py (crash|hang|exit) BYTES``: handed to ``attempt`` as its command.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import duckdb

from chronoduck.engine.offline_child import main

_connect = duckdb.connect


class Connection:
    """A connection that also knows what it attaches."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *args: Any) -> Any:
        """Attach as ``connect`` opens."""
        if sql.startswith("ATTACH '"):
            misbehave(sql.split("'")[1])
        return self._connection.execute(sql, *args)


def connect(database: str, *args: Any, **kwargs: Any) -> Connection:
    """Open as a buggy DuckDB would."""
    misbehave(database)
    return Connection(_connect(database, *args, **kwargs))


def misbehave(database: str) -> None:
    """Do what a bug of DuckDB would do."""
    how, limit = sys.argv[1], int(sys.argv[2])
    wal = Path(f"{database}.wal")
    if wal.exists() and wal.stat().st_size > limit:
        if how == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        while how == "hang":
            pass
        os._exit(3)


if __name__ == "__main__":
    duckdb.connect = connect  # type: ignore[assignment]
    sys.exit(main())
