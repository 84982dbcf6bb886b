"""``python -m chronoduck.engine.upload_reader``: reads uploaded Parquet files to their end, enclosed.

A request is a line of JSON with ``path`` and ``seconds``; the answer is a line with ``verdict`` and
``sentence``. The process reaches nothing but the files below one directory, to read them. It ends with
its connection, with an internal error of DuckDB, and when a file takes more time than it may.

A file with times of the form INT96 gets the verdict ``int96``: DuckDB takes their nanoseconds away
without a word, so that ``int96_reader.py`` has to look at it, too.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import duckdb

from chronoduck.engine.kernel.enclosure import KernelWalls, enclose
from chronoduck.engine.opening_options import CLOSED_OPTIONS
from chronoduck.errors import EngineBugError, OutOfMemoryError
from chronoduck.sql.engine_errors import EngineFailure, first_sentence, translate

__all__ = ["main", "serve"]

_DESCRIPTORS = 64
_RESERVED_BYTES = 2_000_000_000
"""Address space that allocators take beside what they use."""
_THREADS = 2
_DAMAGED = "it is damaged, or of a kind that DuckDB does not read"
_HAS_ASYNC_THREADS = int(duckdb.__version__.split(".")[0]) >= 2


def main() -> None:
    """Read by DuckDB what is asked for."""
    directory, memory_bytes = sys.argv[2:4]
    root = _connect(directory, int(memory_bytes))
    root.execute("SELECT 1").fetchall()  # it imports what cannot be imported later

    def start() -> None:
        # Only a thread that starts now is bound by Landlock.
        root.execute(f"SET threads = {_THREADS}")
        root.execute("SET lock_configuration = true")

    serve(partial(_read, root), start)


def serve(read: Callable[[str], tuple[str, str]], start: Callable[[], None]) -> None:
    """Enclose this process, say which walls stand, then read what is asked for; never returns.

    ``start`` is called inside the walls, before anything is read.
    """
    descriptor, directory, memory_bytes, demanded = sys.argv[1:]
    connection = socket.socket(fileno=int(descriptor))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's
    walls = enclose(
        _DESCRIPTORS, 2 * int(memory_bytes) + _RESERVED_BYTES, [Path(directory)], may_open=True
    )
    if KernelWalls(int(demanded)) not in walls:
        os._exit(1)
    start()
    connection.sendall(b"%d\n" % walls)
    with connection.makefile("rb") as requests:
        for line in requests:
            request = json.loads(line)
            # The kernel ends the process: an interrupt comes too late for some files.
            signal.setitimer(signal.ITIMER_PROF, request["seconds"] * _THREADS)
            verdict, sentence = read(request["path"])
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            answer = {"verdict": verdict, "sentence": sentence}
            connection.sendall(json.dumps(answer).encode() + b"\n")
            if verdict == "internal":
                break
    os._exit(0)


def _read(root: duckdb.DuckDBPyConnection, path: str) -> tuple[str, str]:
    text = path.replace("'", "''")
    try:
        with closing(root.cursor()) as cursor:
            cursor.execute(f"SELECT min(hash(COLUMNS(*))) FROM read_parquet('{text}')").fetchall()
            cursor.execute(f"SELECT count(*) FROM parquet_schema('{text}') WHERE type = 'INT96'")
            has_int96 = cursor.fetchall() != [(0,)]
    except duckdb.Error as error:
        failure = translate(error)
        if isinstance(failure, OutOfMemoryError):
            return "memory", failure.detail
        is_own = isinstance(error, duckdb.InternalException | duckdb.FatalException)
        sentence = _DAMAGED if is_own else first_sentence(error)
        # What is taken for a failure of the engine may be one: the next file gets another process.
        is_lost = isinstance(failure, EngineBugError | EngineFailure)
        return "internal" if is_lost else "refused", sentence
    except (MemoryError, UnicodeDecodeError):
        return "internal", _DAMAGED
    return "int96" if has_int96 else "read", ""


def _connect(directory: str, memory_bytes: int) -> duckdb.DuckDBPyConnection:
    """Return an instance without threads of its own. DuckDB reads ``/proc`` meanwhile."""
    root = duckdb.connect(
        ":memory:",
        config={
            **CLOSED_OPTIONS,
            "memory_limit": f"{memory_bytes}B",
            "temp_directory": "",
            "threads": "1",
            **({"async_threads": "0"} if _HAS_ASYNC_THREADS else {}),
        },
    )
    quoted = directory.replace("'", "''")
    # A file of the same name may come again with other bytes.
    root.execute("SET enable_external_file_cache = false")
    root.execute("SET allow_persistent_secrets = false")
    root.execute(f"SET allowed_directories = ['{quoted}']")
    root.execute("SET enable_external_access = false")
    return root


if __name__ == "__main__":
    main()
