"""One attempt in a child process that may crash, hang, or run out of memory, space and time."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

__all__ = ["Attempt", "Limits", "Outcome", "free_bytes", "run_attempt"]

_PR_SET_PDEATHSIG = 1
_ADDRESS_SPACE_BYTES = 4_000_000_000
"""What DuckDB and its allocator reserve beside what they use."""
_LOOK_SECONDS = 0.05
_FULL_BYTES = 16_000_000
"""With less than this free, an error is taken for one of the full volume."""
_IDLE_SECONDS = 10.0
"""A child whose threads have all slept for so long, and used no CPU, hangs."""
_BACKGROUND_NICE = 14
_CRASHES = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS}
)
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

Say = Callable[[str], None]
Work = Callable[[Say], dict[str, Any]]
Wait = Callable[[int, float], None]
"""Waits until the descriptor can be read, at most so many seconds; may raise to end the attempt."""


class Outcome(StrEnum):
    """How an attempt ended."""

    PASSED = "passed"
    FAILED = "failed"
    """An error, a crash, or no end: a start would meet the same."""
    NO_MEMORY = "no_memory"
    NO_SPACE = "no_space"
    NO_TIME = "no_time"
    """It was not over in time, and had not had the CPU for it."""
    KILLED = "killed"
    """Somebody else ended it; often the kernel, for want of memory."""

    @property
    def is_judgment(self) -> bool:
        """Whether it is a verdict on the WAL."""
        return self in (Outcome.PASSED, Outcome.FAILED)


@dataclass(frozen=True)
class Limits:
    """What a child may use."""

    memory_bytes: int
    cpu_seconds: float
    wall_seconds: float
    is_background: bool = True
    """Whether the child runs at a low priority."""
    kept_bytes: int = 0
    """Free space of its volume below which it is ended."""


@dataclass(frozen=True)
class Attempt:
    """The result of one attempt."""

    outcome: Outcome
    phase: str
    """The last step that the child began."""
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def free_bytes(directory: Path) -> int:
    """Return the free bytes of the volume of a directory."""
    state = os.statvfs(directory)
    return state.f_bavail * state.f_frsize


def run_attempt(
    work: Work,
    limits: Limits,
    wait: Wait,
    failures: tuple[type[Exception], ...],
    directory: Path,
) -> Attempt:
    """Run the work in a fork of this process, which must have one thread and no DuckDB instance.

    ``failures`` are the exceptions that count as the work's result; another one is a crash. One that
    is raised while the volume of ``directory`` is full is no verdict.

    ``wait`` is called every 50 ms. When it raises, the child is killed before the error propagates.
    """
    started = time.monotonic()
    readable, writable = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _run_child(work, limits, failures, directory, writable, parent)
    os.close(writable)
    watch = _Watch(child, limits, started, directory)
    try:
        try:
            while watch.reads(readable):
                wait(readable, _LOOK_SECONDS)
        finally:
            os.close(readable)
            if watch.must_kill:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
    finally:
        _, code, usage = os.wait4(child, 0)
    return watch.attempt(code, usage.ru_utime + usage.ru_stime)


class _Watch:
    """A running child: its messages, and how much of its limits it has used."""

    def __init__(self, child: int, limits: Limits, started: float, directory: Path) -> None:
        self._child = child
        self._directory = directory
        self._limits = limits
        self._started = started
        self._buffer = b""
        self._result: dict[str, Any] | None = None
        self._killed: tuple[Outcome, str] | None = None
        self._busy = (0.0, started)
        """CPU seconds, and the last time when they grew or a thread was running."""
        self.phase = "starting"
        self.must_kill = True

    def reads(self, readable: int) -> bool:
        """Read the child's messages; False at their end, or when the child must be killed."""
        os.set_blocking(readable, False)
        with contextlib.suppress(BlockingIOError):
            data = os.read(readable, 65536)
            if not data:
                self.must_kill = False
                return False
            self._buffer += data
            *lines, self._buffer = self._buffer.split(b"\n")
            for line in lines:
                message = json.loads(line)
                if message["kind"] == "phase":
                    self.phase = message["phase"]
                else:
                    self._result = message
        self._killed = self._exceeds()
        return self._killed is None

    def _exceeds(self) -> tuple[Outcome, str] | None:
        now, limits = time.monotonic(), self._limits
        cpu, resident, is_running = _usage(self._child)
        if resident > limits.memory_bytes:
            return Outcome.NO_MEMORY, f"it needs more than {limits.memory_bytes / 1e6:.0f} MB"
        if limits.kept_bytes and free_bytes(self._directory) < limits.kept_bytes:
            return (
                Outcome.NO_SPACE,
                f"{limits.kept_bytes / 1e6:.0f} MB must stay free on the volume",
            )
        if cpu > self._busy[0] or is_running:
            self._busy = (cpu, now)
        if cpu > limits.cpu_seconds:
            return Outcome.FAILED, f"it did not end within {cpu:.0f} s of CPU time"
        if now - self._busy[1] > _IDLE_SECONDS:
            return Outcome.FAILED, f"it has waited for nothing for {_IDLE_SECONDS:.0f} s"
        if now - self._started > limits.wall_seconds:
            return Outcome.NO_TIME, f"it had {cpu:.1f} s of CPU time in {limits.wall_seconds:.0f} s"
        return None

    def attempt(self, code: int, cpu: float) -> Attempt:
        """Return the result of the child, which has ended."""
        outcome, reason, facts = self._judge(code)
        seconds = time.monotonic() - self._started
        return Attempt(outcome, self.phase, reason, facts, round(seconds, 3), round(cpu, 3))

    def _judge(self, code: int) -> tuple[Outcome, str, dict[str, Any]]:
        if self._killed is not None:
            return *self._killed, {}
        result = self._result
        if result is not None and result["kind"] == "passed":
            return Outcome.PASSED, "", result["facts"]
        if result is not None:
            return Outcome(result["kind"]), result["reason"], {}
        if os.WIFSIGNALED(code):
            number = signal.Signals(os.WTERMSIG(code))
            outcome = Outcome.FAILED if number in _CRASHES else Outcome.KILLED
            return outcome, f"the process died of {number.name}", {}
        return (
            Outcome.FAILED,
            f"the process ended with exit code {os.waitstatus_to_exitcode(code)}",
            {},
        )


def _usage(child: int) -> tuple[float, int, bool]:
    """Return CPU seconds, resident bytes, and whether a thread runs or waits for a disk."""
    cpu, resident, is_running = 0.0, 0, False
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{child}/statm", encoding="ascii") as file:  # noqa: PTH123 - 20 times a second
            resident = int(file.read().split()[1]) * _PAGE
        with open(f"/proc/{child}/stat", encoding="ascii") as file:  # noqa: PTH123
            fields = file.read().rpartition(")")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) / _TICKS
        for task in os.listdir(f"/proc/{child}/task"):  # noqa: PTH208
            with open(f"/proc/{child}/task/{task}/stat", encoding="ascii") as file:  # noqa: PTH123
                is_running = is_running or file.read().rpartition(")")[2].split()[0] in "RD"
    return cpu, resident, is_running


def _run_child(
    work: Work,
    limits: Limits,
    failures: tuple[type[Exception], ...],
    directory: Path,
    writable: int,
    parent: int,
) -> None:
    """Do the work and end the process; never returns."""
    code = 1
    try:
        _limit_child(limits, parent)

        def send(**message: Any) -> None:
            os.write(writable, json.dumps(message).encode() + b"\n")

        try:
            facts = work(lambda phase: send(kind="phase", phase=phase))
            send(kind="passed", facts=facts)
        except MemoryError as error:
            send(kind="no_memory", reason=_first_line(error))
        except failures as error:
            is_full = free_bytes(directory) < max(_FULL_BYTES, limits.kept_bytes)
            send(kind="no_space" if is_full else "failed", reason=_first_line(error))
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def _limit_child(limits: Limits, parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before the request was made
    if limits.is_background:
        os.nice(_BACKGROUND_NICE)
    space = 2 * limits.memory_bytes + _ADDRESS_SPACE_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        space = min(space, hard)
    resource.setrlimit(resource.RLIMIT_AS, (space, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _first_line(error: BaseException) -> str:
    text = str(error)
    with contextlib.suppress(ValueError, TypeError, KeyError):
        text = json.loads(text)["exception_message"]
    return (text.splitlines() or [type(error).__name__])[0][:500]
