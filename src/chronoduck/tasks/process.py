"""The service's side of a task: starts the process, hears of its progress, ends it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from chronoduck.errors import DuckDBException
from chronoduck.settings import Settings, reveal

__all__ = ["Relay", "TaskFailedError", "run_task"]

_LONGEST_MESSAGE_BYTES = 64_000_000
Relay = Callable[[str, int, int], Awaitable[None]]
"""Is told what is being done, how much of it is done, and how much there is."""


class TaskFailedError(DuckDBException):
    """A task's process failed; ``code`` is that of the error in it."""

    code = "task_failed"
    title = "The task failed"


async def run_task(settings: Settings, task: str, relay: Relay, **arguments: Any) -> dict[str, Any]:
    """Do a task (see ``tasks/work.py``) in a process of its own; it ends when this coroutine does.

    Raises:
        TaskFailedError: what the task raised.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "chronoduck.tasks"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=_LONGEST_MESSAGE_BYTES,
    )
    assert process.stdin is not None  # noqa: S101 - both were asked for
    assert process.stdout is not None  # noqa: S101
    try:
        first = {"task": task, "arguments": arguments, "settings": reveal(settings)}
        process.stdin.write(orjson.dumps(first) + b"\n")
        # Half a line is the last one of a process that was killed while it spoke.
        while (line := await process.stdout.readline()).endswith(b"\n"):
            message = orjson.loads(line)
            if message["kind"] == "progress":
                await relay(message["step"], message["done"], message["total"])
            elif message["kind"] == "failed":
                raise _failure(message)
            else:
                result: dict[str, Any] = message["result"]
                return result
        raise TaskFailedError(
            f"the process of the task {task} died: {_end(await process.wait())}",
            hint="Look for its last words in the log, and for the out-of-memory killer in dmesg.",
        )
    finally:
        process.stdin.close()  # it ends by that
        await process.wait()


def _end(code: int) -> str:
    """Return how a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _failure(message: dict[str, Any]) -> TaskFailedError:
    error = TaskFailedError(message["detail"], hint=message["hint"])
    # The child's, not this class's.
    vars(error).update(
        code=message["code"], http_status=message["status"], retryable=message["retryable"]
    )
    return error
