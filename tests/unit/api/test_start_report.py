"""A start that fails is one sentence for the server; the errors of others stay as they are."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.engine.ownership import DatabaseOwnership
from chronoduck.errors import DatabaseLockedError


async def run(app: Any) -> list[MutableMapping[str, Any]]:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app({"type": "lifespan", "asgi": {}, "state": {}}, receive, send)
    return sent


async def test_a_database_in_use_is_one_line(app_service: DuckDBService) -> None:
    path = app_service.settings.database_path
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = DatabaseOwnership(path)
    owner.acquire()
    try:
        [failed] = await run(create_app(app_service))
    finally:
        owner.release()
    assert failed["type"] == "lifespan.startup.failed"
    assert failed["message"].startswith(f"chronoduck does not start: {path} is in use")
    assert len(failed["message"].splitlines()) == 1


async def test_an_unforeseen_error_keeps_its_traceback(
    app_service: DuckDBService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app_service, "initialize", broken)
    sent: list[Any] = []
    with pytest.raises(ZeroDivisionError):
        sent += await run(create_app(app_service))


_WORKER = """
import multiprocessing, sys
from pathlib import Path
from chronoduck.engine.ownership import DatabaseOwnership
from chronoduck.errors import DatabaseLockedError

def work(path, ready, done):
    try:
        owner = DatabaseOwnership(Path(path))
        owner.acquire()
    except DatabaseLockedError as error:
        print(error.hint)
    ready.set()
    done.wait(60)

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    done = context.Event()
    for _ in range(2):
        ready = context.Event()
        context.Process(target=work, args=(sys.argv[1], ready, done)).start()
        ready.wait(60)
    done.set()
"""


def test_workers_of_one_server_are_told_that_the_service_is_one_process(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(_WORKER)
    done = subprocess.run(
        [sys.executable, tmp_path / "server.py", tmp_path / "a.db"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert "one worker" in done.stdout, done.stdout + done.stderr


async def test_a_stranger_is_no_worker(tmp_path: Path) -> None:
    held = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c"),
        "import sys; from pathlib import Path; from chronoduck.engine.ownership import *; "
        "o = DatabaseOwnership(Path(sys.argv[1])); o.acquire(); print('held', flush=True); input()",
        tmp_path / "a.db",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert held.stdout is not None
    assert (await held.stdout.readline()).strip() == b"held"
    with pytest.raises(DatabaseLockedError) as caught:
        DatabaseOwnership(tmp_path / "a.db").acquire()
    await held.communicate(b"\n")
    assert (
        caught.value.hint == f"Send statements to that service, or stop it first (kill {held.pid})."
    )
