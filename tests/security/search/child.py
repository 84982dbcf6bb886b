"""Runs statements one by one, each with an interrupt after a second."""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time

import duckdb

INTERRUPT_SECONDS = 1.0
_ADDRESS_SPACE = 4_000_000_000
"""Code and threads take two of them; the rest is for one statement."""


def main() -> None:
    """Answer each line on standard input, a statement as JSON, with a line of JSON."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    connection = duckdb.connect(
        config={
            "memory_limit": "1GB",
            "threads": "2",
            "enable_external_access": "false",
            "temp_directory": "",
        }
    )
    connection.execute("SET enable_progress_bar = false")
    for statement in json.loads(sys.stdin.readline()):
        connection.execute(statement)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        cursor = connection.cursor()
        timer = threading.Timer(INTERRUPT_SECONDS, cursor.interrupt)
        timer.start()
        began = time.process_time()
        error = ""
        try:
            cursor.execute(json.loads(line))
            cursor.fetchmany(2)
        except Exception as caught:  # noqa: BLE001 - its name is what is asked for
            error = type(caught).__name__
        timer.cancel()
        print(json.dumps({"error": error, "seconds": time.process_time() - began}), flush=True)
        if error in ("InternalException", "FatalException"):
            os._exit(0)


if __name__ == "__main__":
    main()
