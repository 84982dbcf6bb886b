"""The service's side of a task: starts the process, hears of its progress, ends it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from chronoduck.errors import DuckDBException
from chronoduck.settings import Settings, reveal

__all__ = ["Relay", "TaskFailedError", "TaskTimeoutError", "run_task", "task_seconds"]

_LONGEST_MESSAGE_BYTES = 64_000_000
Relay = Callable[[str, int, int], Awaitable[None]]
"""Is told what is being done, how much of it is done, and how much there is."""


_DEADLINES = frozenset({"backup", "verify_backup", "verify_database", "drill", "compact"})
_SECONDS_PER_GB = 600.0
_END_SECONDS = 2.0


class TaskFailedError(DuckDBException):
    """A task's process failed; ``code`` is that of the error in it."""

    code = "task_failed"
    title = "The task failed"


class TaskTimeoutError(TaskFailedError):
    """A task's process was ended at its deadline."""

    code = "task_timeout"
    title = "The task took too long"


def task_seconds(settings: Settings, task: str) -> float | None:
    """Return how long a task may take: longer for a larger database; None for one without a deadline."""
    if task not in _DEADLINES:
        return None
    path = settings.database_path
    size = path.stat().st_size if path.exists() else 0
    return settings.deadline.task + size / 1e9 * _SECONDS_PER_GB


async def run_task(settings: Settings, task: str, relay: Relay, **arguments: Any) -> dict[str, Any]:
    """Do a task (see ``tasks/work.py``) in a process of its own; it ends when this coroutine does.

    Raises:
        TaskFailedError: what the task raised.
        TaskTimeoutError: it was ended at its deadline.
    """
    seconds = await asyncio.to_thread(task_seconds, settings, task)
    try:
        async with asyncio.timeout(seconds) as deadline:
            return await _run(settings, task, relay, arguments)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise TaskTimeoutError(
            f"the {task} was ended after {seconds:,.0f} s",
            hint="Raise DUCKDB_DEADLINE_TASK if the database and the store need longer; else look for "
            "what hangs in the service's log.",
        ) from None


async def _run(
    settings: Settings, task: str, relay: Relay, arguments: dict[str, Any]
) -> dict[str, Any]:
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
            f"the process of the task {task} died: {_describe_end(await process.wait())}",
            hint="Look for its last words in the log, and for the out-of-memory killer in dmesg.",
        )
    finally:
        process.stdin.close()  # it ends by that
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Wait a moment for the process's own end, ask for it, then take its life."""
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await process.communicate()  # asyncio keeps its pipes to the end of its output
                return


def _describe_end(code: int) -> str:
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
