"""No process outlives the test that failed to end it, nor the run: a plugin of pytest.

Every process that a test starts inherits a variable, whoever its parent is later. After a failed test
those of that test are killed, at the end of the run those of all.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["kill_all", "pytest_runtest_protocol", "pytest_sessionfinish"]

_VARIABLE = "STARTED_BY_TESTS"
_KEPT = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")
"""Python's own, which serve tests that come later."""
_failed: set[str] = set()


def pytest_sessionfinish(session: pytest.Session) -> None:
    kill_all(_run())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Mark what the test itself starts; fixtures that others share have the mark of the run alone.

    Only a process that runs tests sets it: the one that hands them out must not kill those.
    """
    os.environ[_VARIABLE] = _run()
    try:
        return (yield)
    finally:
        if item.nodeid in _failed:
            kill_all(_mark(item.nodeid))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        _failed.add(item.nodeid)
    return report


@pytest.fixture(autouse=True)
def _mark_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_VARIABLE, _mark(request.node.nodeid))


def _run() -> str:
    return f"{os.getpid()}:"


def _mark(test: str) -> str:
    return _run() + test


def kill_all(mark: str) -> list[int]:
    """Kill the processes whose mark begins with this one; return the ids of those that were there."""
    killed: list[int] = []
    # Those that are started while others are killed are found the next time.
    while found := [pid for pid in _marked(mark) if pid not in killed]:
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        killed += found
        time.sleep(0.05)
    return killed


def _marked(mark: str) -> list[int]:
    wanted = f"{_VARIABLE}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes()
        except OSError:  # it has ended, or is not ours
            continue
        is_marked = any(each.startswith(wanted) for each in variables)
        if is_marked and not any(each in command for each in _KEPT):
            found.append(int(entry.name))
    return found
