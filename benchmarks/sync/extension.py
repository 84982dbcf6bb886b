"""``python -m benchmarks.sync.extension FILE TASK TABLE``: what DuckDB's extension does.

``copy``: copies a table of the source, and prints seconds. ``compare``: prints how many rows of the
file's table are not in the source's ``pages``, or the other way round.

The connection string is in ``BENCH_DSN``; the database's threads are those that the service has.
"""

from __future__ import annotations

import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import duckdb

__all__ = ["main"]


def main() -> None:
    file, task, table = sys.argv[1:]
    found = find_spec("duckdb_extension_postgres_scanner")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("duckdb-extension-postgres-scanner is not installed")
    folder = Path(next(iter(found.submodule_search_locations))) / "extensions"
    extension = next(folder.glob(f"v{duckdb.__version__}/*.duckdb_extension"))
    with duckdb.connect(file) as connection:
        connection.execute(f"LOAD '{extension}'")
        started = time.perf_counter()
        connection.execute(f"ATTACH '{os.environ['BENCH_DSN']}' AS pg (TYPE postgres, READ_ONLY)")
        if task == "compare":
            connection.execute(f"SET temp_directory = '{file}.tmp'")
            there, here = "FROM pg.public.pages", f"FROM {table}"
            print(sum(_different(connection, *pair) for pair in ((there, here), (here, there))))
            return
        connection.execute(f"CREATE TABLE copied AS FROM pg.public.{table}")
        connection.execute("CHECKPOINT")
        print(time.perf_counter() - started)


def _different(connection: duckdb.DuckDBPyConnection, one: str, other: str) -> int:
    rows = connection.execute(f"SELECT count(*) FROM ({one} EXCEPT ALL {other})").fetchone()
    return int(rows[0]) if rows else 0


if __name__ == "__main__":
    main()
