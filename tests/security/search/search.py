"""``python -m tests.security.search.search COUNT [SEED]``: search, and print what DuckDB did not survive.

Each statement that the guard passes for an analyst runs in a process that may die, with an interrupt
after a second; one that takes more CPU time than its patience is reported, as are deaths and internal
errors. A finding is tried again in a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.errors import DuckDBException
from chronoduck.principals import Role
from chronoduck.sql.guard import Guard
from chronoduck.sql.statements import StatementParser
from tests.patience import PATIENCE_SECONDS
from tests.security.search.statements import SETUP, statements

import duckdb  # isort: skip

__all__ = ["Finding", "search"]

CPU_SECONDS = 4.0
_LOOK_SECONDS = 0.2
_TICKS = os.sysconf("SC_CLK_TCK")
Finding = tuple[str, str]
"""What happened, and the statement."""


class Child:
    """A process that runs statements, and is replaced when it has died."""

    def __init__(self, setup: Sequence[str] = SETUP) -> None:
        self._setup = tuple(setup)
        self._process: subprocess.Popen[str] | None = None
        self.last_error = ""
        """The class of the last statement's error; empty if it had none, or did not end."""
        self.last_seconds = 0.0
        """The CPU time that the last statement took, as far as it was waited for."""

    def run(self, sql: str, cpu_seconds: float) -> str:
        """Return what is wrong with a statement; empty when nothing is.

        ``cpu_seconds``: how much it may take, its interrupt after a second included.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        self.last_error, self.last_seconds = "", cpu_seconds
        process.stdin.write(json.dumps(sql) + "\n")
        process.stdin.flush()
        used, end = _cpu_seconds_of(process.pid), time.monotonic() + PATIENCE_SECONDS
        while not select.select([process.stdout], [], [], _LOOK_SECONDS)[0]:
            is_spent = _cpu_seconds_of(process.pid) - used > cpu_seconds
            if is_spent or time.monotonic() > end:
                self.close()
                return "does not stop"
        line = process.stdout.readline()
        if not line:
            code = process.wait()
            self.close()
            return f"ends the process ({code})"
        answer = json.loads(line)
        error = self.last_error = str(answer["error"])
        self.last_seconds = float(answer["seconds"])
        if error in ("InternalException", "FatalException"):
            self.close()
            return error
        return ""

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
            self._process = None

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.security.search.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(self._setup) + "\n")
        self._process.stdin.flush()
        self._process.stdout.readline()
        return self._process


def _cpu_seconds_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def search(seed: int, count: int, cpu_seconds: float = CPU_SECONDS) -> Iterator[Finding]:
    """Yield what is wrong, with the statements that the guard passes."""
    database = duckdb.connect()
    for statement in SETUP:
        database.execute(statement)
    parser = StatementParser()
    guard = Guard(parser, LiveDefinitions(database.cursor))
    child = Child()
    try:
        for sql in statements(seed, count):
            try:
                guard.judge(sql, Role.ANALYST)
            except DuckDBException:
                continue
            if not child.run(sql, cpu_seconds):
                continue
            child.close()
            again = child.run(sql, cpu_seconds * 3)
            if again:
                yield again, sql
    finally:
        child.close()
        guard.close()
        parser.close()
        database.close()


if __name__ == "__main__":
    for what, found in search(int(sys.argv[2]) if len(sys.argv) > 2 else 0, int(sys.argv[1])):
        print(f"{what}: {found[:2_000]}", flush=True)
