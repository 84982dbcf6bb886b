"""``python -m chronoduck.replication``: the replicator's process; the service starts it.

Settings come as the first line of standard input, so that no secret is seen in a list of processes.
Signals are ignored: the service says when to stop, or is dead, which closes the pipe.
"""

from __future__ import annotations

import fcntl
import io
import os
import queue
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from chronoduck.engine.memory import lift_address_space_limit
from chronoduck.errors import DuckDBException
from chronoduck.errors.system import reason_of
from chronoduck.replication.messages import ReplicaStatus, to_line
from chronoduck.replication.replicator import Replicator
from chronoduck.settings import Settings

__all__ = ["main"]

_THREADS = 6
_LAST_SECONDS = 5.0
"""How long the rest may be shipped after the service died."""
_PREDECESSOR_SECONDS = 8.0
_NICE = 5


def main() -> int:
    """Run until told to stop."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    os.nice(_NICE)
    lift_address_space_limit()
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # nothing but messages may get into the pipe
    # Unbuffered: a thread that waits in a buffered read keeps the interpreter from ending.
    source = io.FileIO(0, closefd=False)
    line = source.readline()
    if not line:
        return 0  # the service died before it could say anything
    first = orjson.loads(line)
    settings = Settings(**first["settings"])
    say = _Speaker(out)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="store") as executor:
        try:
            lock = _wait_for_predecessor(settings.database_path)
            replicator = Replicator(settings, executor, say.status)
            replicator.prepare(
                adopt=first["adopt"],
                is_patient=first["is_patient"],
                is_running=first["is_running"],
            )
        except DuckDBException as error:
            say("refused", code=error.code, detail=error.operator_detail, hint=error.hint)
            return error.exit_code
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            say(
                "refused",
                code="replica_unusable",
                detail=f"the replica cannot be used: {place}{reason_of(error, shows_text=True)}",
                hint="Check DUCKDB_REPLICA_URL: chronoduck doctor tries to write there.",
            )
            return 74
        say("ready", status=replicator.status.as_dict())
        commands: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=_read, args=(source, commands), daemon=True).start()
        begin = commands.get()
        if begin["kind"] == "stop":
            replicator.release()
            return 0
        replicator.run(commands)
        os.close(lock)
    return 0


class _Speaker:
    """Writes messages until nobody reads any more."""

    def __init__(self, out: BinaryIO | Any) -> None:
        self._out = out
        self._lock = threading.Lock()

    def __call__(self, kind: str, **fields: Any) -> None:
        with self._lock:
            try:
                self._out.write(to_line(kind, **fields))
            except OSError:
                return  # the service is dead; standard input tells it too

    def status(self, status: ReplicaStatus) -> None:
        self("status", status=status.as_dict())


def _read(source: io.FileIO, commands: queue.Queue[dict[str, Any]]) -> None:
    for line in source:
        commands.put(orjson.loads(line))
    commands.put({"kind": "stop", "seconds": _LAST_SECONDS})


def _wait_for_predecessor(database: Path) -> int:
    """Return a lock that the replicator of a service killed a moment ago may still hold."""
    path = database.with_name(database.name + ".replicator.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    end = time.monotonic() + _PREDECESSOR_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError:
            if time.monotonic() > end:
                raise DuckDBException(
                    f"the replicator of an earlier service still holds {path}",
                    hint="End that process, then start again.",
                ) from None
            time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
