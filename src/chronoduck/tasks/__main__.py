"""``python -m chronoduck.tasks``: does one task beside a service that goes on.

The task and the settings are the first line of standard input; progress, result or error are lines of
standard output. It ends when the service does.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import Any

import orjson

from chronoduck.engine.memory import lift_address_space_limit
from chronoduck.errors import DuckDBException
from chronoduck.settings import Settings
from chronoduck.tasks.work import TASKS

__all__ = ["main"]

_NICE = 10


def main() -> int:
    """Do the task."""
    os.nice(_NICE)
    lift_address_space_limit()
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # nothing but messages may get into the pipe
    source = io.FileIO(0, closefd=False)
    task = orjson.loads(source.readline())
    threading.Thread(target=_end_with_the_service, args=(source,), daemon=True).start()

    def say(kind: str, **fields: Any) -> None:
        out.write(orjson.dumps({"kind": kind, **fields}, option=orjson.OPT_APPEND_NEWLINE))

    def show(step: str, done: int, total: int) -> None:
        say("progress", step=step, done=done, total=total)

    try:
        result = TASKS[task["task"]](Settings(**task["settings"]), show, **task["arguments"])
    except DuckDBException as error:
        say(
            "failed",
            code=error.code,
            detail=error.operator_detail,
            hint=error.hint,
            status=error.http_status,
            retryable=error.retryable,
        )
        return error.exit_code
    say("done", result=result)
    return 0


def _end_with_the_service(source: io.FileIO) -> None:
    while source.read(4096):
        pass
    os._exit(75)  # what it left is removed by the next task of its kind


if __name__ == "__main__":
    sys.exit(main())
