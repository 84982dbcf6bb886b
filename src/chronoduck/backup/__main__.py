"""``python -m chronoduck.backup``: makes or verifies one backup beside a service that goes on.

The task and the settings are the first line of standard input; progress, result or error are lines of
standard output. It ends when the service does.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import orjson

from chronoduck.backup.failures import BackupNotFoundError
from chronoduck.backup.shelf import Shelf
from chronoduck.backup.take import take_backup
from chronoduck.backup.verification import verify_backup
from chronoduck.errors import DuckDBException
from chronoduck.settings import Settings

__all__ = ["main"]

_NICE = 10


def main() -> int:
    """Do the task."""
    os.nice(_NICE)
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # nothing but messages may get into the pipe
    source = io.FileIO(0, closefd=False)
    task = orjson.loads(source.readline())
    threading.Thread(target=_end_with_the_service, args=(source,), daemon=True).start()

    def say(kind: str, **fields: Any) -> None:
        out.write(orjson.dumps({"kind": kind, **fields}, option=orjson.OPT_APPEND_NEWLINE))

    def show(step: str, done: int, total: int) -> None:
        say("progress", step=step, done=done, total=total)

    settings = Settings(**task["settings"])
    try:
        if task["task"] == "verify":
            say("done", result=_verify(settings, task["backup"], show))
        else:
            say("done", result=take_backup(settings, task["tables"], show).as_dict())
    except DuckDBException as error:
        say("failed", code=error.code, detail=error.operator_detail, hint=error.hint)
        return error.exit_code
    return 0


def _verify(settings: Settings, backup_id: str, show: Any) -> dict[str, Any]:
    shelf = Shelf.of(settings)
    if shelf is None:
        raise BackupNotFoundError("there is no backup directory: set DUCKDB_BACKUP_DIR")
    backup = shelf.find(backup_id)
    settings.temp_directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="verify-", dir=settings.temp_directory) as scratch:
        found = verify_backup(backup.path, settings.backup, Path(scratch), on_progress=show)
    return {"id": backup.name.id, "tables": len(found.tables), "rows": found.rows}


def _end_with_the_service(source: io.FileIO) -> None:
    while source.read(4096):
        pass
    os._exit(75)  # what it left is removed by the next backup


if __name__ == "__main__":
    sys.exit(main())
