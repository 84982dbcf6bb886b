"""``python -m benchmarks.quack_server DATABASE PORT TOKEN``: Quack until it is terminated."""

from __future__ import annotations

import sys

from benchmarks.quack_client import load_extensions

if __name__ == "__main__":
    import duckdb

    database, port, token = sys.argv[1:4]
    connection = duckdb.connect(database)
    load_extensions(connection)
    connection.execute(
        f"CALL quack_serve('quack:localhost:{port}', token='{token}', disable_ssl=true)"
    ).fetchall()
    sys.stdin.read()
