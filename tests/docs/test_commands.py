"""Every command in the documentation runs, and prints what the documentation shows."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, REPOSITORY, blocks, commands, comparable, run_all
from tests.patience import PATIENCE_SECONDS
from tests.server import environment, free_port, run_cli

pytestmark = pytest.mark.slow
ids = [document.name for document in DOCUMENTS]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """The demo as ``make demo`` starts it, in a directory of its own."""
    directory, port = tmp_path_factory.mktemp("demo"), free_port()
    (directory / "examples").symlink_to(REPOSITORY / "examples")
    with (directory / "demo.out").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "chronoduck", "demo", "--port", str(port)],
            cwd=directory,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in range(2_400):
            if "Ctrl-C" in (directory / "demo.out").read_text():
                break
            assert process.poll() is None, (directory / "demo.out").read_text()
            time.sleep(0.1)
        yield directory, port
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_commands_print_what_the_documentation_shows(
    document: Path, demo: tuple[Path, int]
) -> None:
    todo = commands(document)
    for command, printed in zip(todo, run_all(todo, *demo), strict=True):
        assert "command not found" not in printed, command.text
        if command.output is None:
            assert "error:" not in printed, f"{command.text}\n{printed}"
            continue
        expected, actual = comparable(command.output), comparable(printed)
        if "..." in expected:
            actual = actual[: expected.index("...")]
            expected = expected[: expected.index("...")]
        if any("(owner" in line for line in expected):
            actual, expected = (
                [re.sub(r"\(owner.*?\)", "(owner)", line) for line in lines]
                for lines in (actual, expected)
            )
        assert actual == expected, f"{command.text}\n{printed}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_python_examples_run(
    document: Path, demo: tuple[Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = blocks(document, "python")
    if not examples or document.name == "README.md":  # its own test runs them from the wheel
        return
    if document.name == "client.md":  # asks a service that runs
        directory, port = demo
        monkeypatch.chdir(directory)
        examples = [example.replace(":8000", f":{port}") for example in examples]
    else:
        loaded = run_cli(
            tmp_path, "load", str(REPOSITORY / "examples" / "data" / "twitter-labels.cdx")
        )
        assert loaded.returncode == 0, loaded.stdout + loaded.stderr
        monkeypatch.chdir(REPOSITORY)
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    # The process's one service has the settings of whichever test asked for it first.
    monkeypatch.setattr("chronoduck.assembly.accessors._service", None)

    async def run() -> None:
        names: dict[str, object] = {}
        try:
            for example in examples:
                code = compile(example, document.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True)
                outcome = eval(code, names)
                if inspect.iscoroutine(outcome):
                    await outcome
        finally:
            from app.services.duckdb_service import duckdb_service
            from chronoduck.assembly import accessors

            for opened in (accessors._service, duckdb_service):
                if opened is not None:
                    await opened.shutdown()

    asyncio.run(run())


def test_the_three_commands_that_the_demo_prints_work(demo: tuple[Path, int]) -> None:
    directory, port = demo
    printed = (directory / "demo.out").read_text()
    tour = re.findall(r"^  (\S.*)$", printed.split("Try, in another terminal:")[1], re.MULTILINE)
    assert len(tour) == 3
    for command in tour:
        done = subprocess.run(
            ["bash", "-c", command], cwd=directory, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "example.com" in done.stdout or '"data":[[' in done.stdout
    again = subprocess.run(
        [sys.executable, "-m", "chronoduck", "demo", "--port", str(port)],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0
    assert "running already" in again.stdout
