"""A bug of DuckDB for whole processes: opening a WAL of more than some bytes ends the process.

Put this directory on PYTHONPATH and set ``CHRONODUCK_TEST_BUG`` to ``BYTES:WHO``, where WHO is a word of
the command lines that die (``serve``: only servers; ``chronoduck``: every process).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any


def _install(limit: int, who: str) -> None:
    import duckdb

    connect = duckdb.connect

    def die_of(database: str) -> None:
        wal = Path(f"{database}.wal")
        words = " ".join(sys.orig_argv)
        if who in words and wal.exists() and wal.stat().st_size > limit:
            os.kill(os.getpid(), signal.SIGSEGV)

    class Connection:
        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        def execute(self, sql: str, *args: Any) -> Any:
            if sql.startswith("ATTACH '"):
                die_of(sql.split("'")[1])
            return self._connection.execute(sql, *args)

    def dying(database: str = ":memory:", *args: Any, **kwargs: Any) -> Any:
        die_of(database)
        connection = connect(database, *args, **kwargs)
        return Connection(connection) if "offline_child" in sys.orig_argv[-1] else connection

    duckdb.connect = dying  # type: ignore[assignment]


if "CHRONODUCK_TEST_BUG" in os.environ and "chronoduck" in " ".join(sys.orig_argv):
    _limit, _, _who = os.environ["CHRONODUCK_TEST_BUG"].partition(":")
    _install(int(_limit), _who)
