"""One attempt at opening a database, in a child process that may crash, hang or run out of memory.

``attempt`` is the only way from here into DuckDB. Its seam for tests is ``command``: callers
take a ``Run``, and a test passes ``attempt`` with the command of an opener that crashes or hangs.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from chronoduck.engine.offline.files import files_bytes
from chronoduck.errors import DatabaseFailedError

__all__ = ["AttemptFailedError", "Budget", "Run", "attempt", "child_of"]

Progress = Callable[[int, int], None]
_DEFAULT_SECONDS = 120.0
_CPU_SHARE = 1 / 20
_CPU_PER_WAL_MB, _CPU_PER_FILE_MB = 2.5, 0.5
"""At least five times what was measured: replaying small transactions takes 0.5 s a MB, reading and
hashing every column 0.1 s."""
_WALL_PER_CPU = 4.0
_GRACE_SECONDS = 2.0


_HINT = (
    "Keep the file as it is. Start the service, which tries other ways on a copy; or restore the newest "
    "point (chronoduck recover), an earlier one (chronoduck restore --list) or a backup."
)
_UNREADABLE_HINT = (
    "Keep the file as it is. Restore the newest point (chronoduck recover), an earlier one "
    "(chronoduck restore --list) or a backup."
)
"""It was opened, so that no other way of opening it helps."""


class AttemptFailedError(DatabaseFailedError):
    """An attempt failed: DuckDB refused, or its process died or was ended at its deadline."""

    def __init__(self, detail: str, *, stage: str, is_timeout: bool = False, is_dead: bool = False):
        super().__init__(detail, hint=_UNREADABLE_HINT if stage.startswith("read") else _HINT)
        self.stage = stage
        """What was done then: ``opened``, ``checkpointed``, ``opened again``, ``read ...``."""
        self.is_timeout = is_timeout
        self.is_dead = is_dead
        """Whether the process died or was ended, instead of reporting an error."""


@dataclass(frozen=True)
class Budget:
    """How much an attempt may use. A loop without end is known by its CPU time, whatever the load."""

    cpu_seconds: int
    wall_seconds: float

    @classmethod
    def of(cls, database: Path, seconds: float = _DEFAULT_SECONDS) -> Budget:
        """Return what a database of this size may take; ``seconds`` is what an empty one may."""
        main, beside = files_bytes(database)
        scale = seconds / _DEFAULT_SECONDS
        work = _CPU_PER_WAL_MB * beside / 1e6 + _CPU_PER_FILE_MB * main / 1e6
        cpu = seconds * _CPU_SHARE + work * scale
        return cls(max(2, int(cpu)), seconds + _WALL_PER_CPU * work * scale)


class Run(Protocol):
    """Does one attempt; ``attempt`` is the real one."""

    def __call__(
        self,
        do: str,
        database: Path,
        budget: Budget,
        on_progress: Progress = ...,
        **arguments: Any,
    ) -> dict[str, Any]: ...


def child_of(python: str) -> tuple[str, ...]:
    """Return the command of a child that has the DuckDB of that Python's environment."""
    return (python, "-P", "-m", "chronoduck.engine.offline_child")


def attempt(
    do: str,
    database: Path,
    budget: Budget,
    on_progress: Progress = lambda done, total: None,
    *,
    command: Sequence[str] = child_of(sys.executable),
    **arguments: Any,
) -> dict[str, Any]:
    """Do one of ``engine/offline_child.py``'s actions in a child, and return its result.

    The child ends with this process, at its deadline, and when this call is left by an exception.

    Raises:
        AttemptFailedError: DuckDB refused, or the child died or was ended.
    """
    request = {"do": do, "database": str(database), "cpu": budget.cpu_seconds, **arguments}
    process = subprocess.Popen(  # noqa: S603 - our own program
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is ours to pass on
        env={**os.environ, "CHRONODUCK_PARENT": str(os.getpid())},
    )
    assert process.stdin is not None  # noqa: S101 - both were asked for
    assert process.stdout is not None  # noqa: S101
    try:
        with (
            contextlib.suppress(BrokenPipeError),
            process.stdin as pipe,
        ):  # _listen reports its death
            pipe.write(json.dumps(request).encode() + b"\n")
        return _listen(process, process.stdout, database, budget, on_progress)
    finally:
        process.stdout.close()
        if process.poll() is None:
            process.kill()
        process.wait()


def _listen(
    process: subprocess.Popen[bytes],
    pipe: IO[bytes],
    database: Path,
    budget: Budget,
    on_progress: Progress,
) -> dict[str, Any]:
    end = time.monotonic() + budget.wall_seconds
    stage, buffered = "opened", b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise AttemptFailedError(
                    f"{database} was not {stage} within {budget.wall_seconds:.0f} s",
                    stage=stage,
                    is_timeout=True,
                    is_dead=True,
                )
            if not selector.select(left):
                continue
            piece = os.read(pipe.fileno(), 65_536)
            if not piece:
                raise _death(process, database, budget, stage)
            *lines, buffered = (buffered + piece).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "result" in message:
                    result: dict[str, Any] = message["result"]
                    return result
                if "refused" in message:
                    stage, said = message["stage"], message["refused"]
                    if not message.get("is_sentence"):
                        said = f"{database} cannot be {stage}: {said}"
                    raise AttemptFailedError(said, stage=stage)
                stage = message.get("stage", stage)
                if "total" in message:
                    on_progress(message["done"], message["total"])


def _death(
    process: subprocess.Popen[bytes], database: Path, budget: Budget, stage: str
) -> AttemptFailedError:
    try:
        code = process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        code = 0
    if code == -signal.SIGXCPU:
        return AttemptFailedError(
            f"{database} was not {stage} within {budget.cpu_seconds} s of CPU time",
            stage=stage,
            is_timeout=True,
            is_dead=True,
        )
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return AttemptFailedError(
        f"DuckDB ended {how} before {database} was {stage}", stage=stage, is_dead=True
    )
