"""Commands that only ask a service import the client, and nothing of what serves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import Server, environment

pytestmark = pytest.mark.slow
HEAVY = {"duckdb", "pyarrow", "numpy", "pydantic", "fastapi", "uvicorn", "structlog", "psutil"}
MOST_MODULES = 600
"""Of 500 today, the standard library's among them: 0.3 s of CPU time on a busy machine."""
SCRIPT = """
import atexit, json, sys
atexit.register(lambda: print("MODULES " + json.dumps(sorted(sys.modules)), file=sys.stderr))
from chronoduck.__main__ import run
run()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("asked")
    with Server(directory):
        yield directory


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["--version"], 0),
        (["help"], 0),
        (["help", "install"], 0),
        (["help", "instal"], 64),
        (["runbook", "disk-full"], 0),
        (["install", "--systemd"], 0),
        (["status"], 0),
        (["status", "--live"], 0),
        (["top", "--once"], 0),
        (["top", "--statements"], 0),
        (["kill", "7"], 66),
        (["keys", "list"], 0),
        (["keys", "create", "--name", "anna", "--role", "viewer"], 0),
        (["usage"], 0),
        (["breaker", "status"], 0),
        (["penalties", "list"], 0),
        (["query", "SELECT 42 AS n"], 0),
        (["query", "--format", "table", "SELECT 1; SELECT 2"], 0),
        (["query", "SELECT nothing"], 65),
    ],
    ids=str,
)
def test_a_command_that_asks_is_light(place: Path, arguments: list[str], exit_code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exit_code, done.stderr
    modules = json.loads(done.stderr.rpartition("MODULES ")[2])
    assert not HEAVY & set(modules)
    assert len(modules) < MOST_MODULES
