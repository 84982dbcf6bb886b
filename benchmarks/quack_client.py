"""A Quack client in a process of its own; prints the figures as JSON like ``http_client``."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import duckdb

from benchmarks.measure import median_of, run_threads


def load_extensions(connection: duckdb.DuckDBPyConnection) -> None:
    """Load httpfs and quack from their wheels; both sides need both."""
    for name in ("httpfs", "quack"):
        module = importlib.import_module(f"duckdb_extension_{name}")
        root = Path(str(module.__file__)).parent / "extensions" / f"v{duckdb.__version__}"
        connection.execute(f"LOAD '{root / name}.duckdb_extension'")


def connect(port: int, token: str) -> duckdb.DuckDBPyConnection:
    """Return a client that has the server attached as ``r``."""
    connection = duckdb.connect()
    load_extensions(connection)
    connection.execute(f"CREATE SECRET (TYPE quack, TOKEN '{token}')")
    connection.execute(f"ATTACH 'quack:localhost:{port}' AS r (disable_ssl true)")
    return connection


def remote(sql: str) -> str:
    """Return the statement that has the server run ``sql``."""
    return f"FROM quack_query_by_name('r', {_quoted(sql)})"


def _quoted(sql: str) -> str:
    return "'" + sql.replace("'", "''") + "'"


if __name__ == "__main__":
    port, token, clients, seconds, sql = sys.argv[1:6]
    root = connect(int(port), token)
    if clients == "arrow":
        found = median_of(lambda: root.execute(remote(sql)).to_arrow_table().num_rows, int(seconds))
        print(json.dumps({"seconds": found}))
        raise SystemExit

    def make_call():
        cursor = root.cursor()
        return lambda: cursor.execute(remote(sql)).fetchall()

    print(json.dumps({"figures": run_threads(make_call, int(clients), float(seconds)).as_dict()}))
