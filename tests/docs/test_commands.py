"""Every command in the documentation runs, and prints what the documentation shows."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.documents import (
    DOCUMENTS,
    REPOSITORY,
    blocks,
    commands,
    comparable,
    repeatable,
    run_all,
)
from tests.patience import PATIENCE_SECONDS
from tests.server import environment, free_port, run_cli

pytestmark = pytest.mark.slow
ids = [document.name for document in DOCUMENTS]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """The demo as ``make demo`` starts it, in a directory of its own."""
    with running_demo(tmp_path_factory.mktemp("demo")) as port_and_place:
        yield port_and_place


@contextmanager
def running_demo(directory: Path, package: Path | None = None) -> Iterator[tuple[Path, int]]:
    """The demo of this repository, with its examples beside it, or that of an unpacked wheel alone."""
    port = free_port()
    if package is None:
        (directory / "examples").symlink_to(REPOSITORY / "examples")
    with (directory / "demo.out").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "chronoduck", "demo", "--port", str(port)],
            cwd=directory,
            env=os.environ | ({} if package is None else {"PYTHONPATH": str(package)}),
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


@pytest.mark.parametrize("document", DOCUMENTS[1:], ids=ids[1:])
def test_commands_print_what_the_documentation_shows(
    document: Path, demo: tuple[Path, int]
) -> None:
    check(document, demo, comparable)


def test_the_figures_of_the_readme_are_those_of_a_new_demo(tmp_path: Path) -> None:
    with running_demo(tmp_path) as fresh:
        check(REPOSITORY / "README.md", fresh, repeatable)


def check(document: Path, place: tuple[Path, int], lines_of: Callable[[str], list[str]]) -> None:
    todo = commands(document)
    for command, printed in zip(todo, run_all(todo, *place), strict=True):
        assert "command not found" not in printed, command.text
        if command.output is None:
            assert "error:" not in printed, f"{command.text}\n{printed}"
            continue
        expected, actual = lines_of(command.output), lines_of(printed)
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


def test_the_demo_of_the_wheel_has_captures_and_their_license(
    wheel: Path, wheel_file: Path, tmp_path: Path
) -> None:
    samples = sorted((wheel / "chronoduck" / "samples").iterdir())
    assert [each.name for each in samples] == [
        "LICENSE-bitdruid",
        "example.com-200.cdx-api.json",
        "example.com-404.cdx-api.json",
    ]
    with zipfile.ZipFile(wheel_file) as archive:
        packed = [each for each in archive.infolist() if "/samples/" in each.filename]
    assert sum(each.compress_size for each in packed) < 300_000
    with running_demo(tmp_path, wheel) as (directory, _):
        printed = (directory / "demo.out").read_text()
        assert "example.com-200.cdx-api.json: 2,850 rows added" in printed
        assert "/docs/api/duckdb" in printed
        assert "var/admin.token" in printed
        [first, *_] = re.findall(r"^  (curl .*)$", printed, re.MULTILINE)
        answer = subprocess.run(
            ["bash", "-c", first], cwd=directory, capture_output=True, text=True, check=True
        ).stdout
        assert '"example.com",' in answer


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
