"""The two DuckDB versions that are tested, each in an interpreter of its own where a test needs both."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.patience import PATIENCE_SECONDS

REPOSITORY = Path(__file__).parents[1]
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chronoduck-tests"


def _pinned(file: str) -> str:
    found = re.search(r"\bduckdb==([\d.]+)", (REPOSITORY / file).read_text())
    assert found is not None, file
    return found[1]


NEWER = _pinned("pyproject.toml")
"""What the package asks for."""
OLDER = _pinned("requirements/duckdb-1.5.txt")
"""One step back."""


def run_in(engine: str, code: str, *arguments: object, is_killed: bool = False) -> Any:
    """Run Python code with that version of DuckDB; return the JSON that it prints last, if any.

    Raises:
        AssertionError: the code fails; its error is in the message.
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(packages_of(engine))},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )
    if is_killed:
        assert done.returncode == -9, done.stderr
        return None
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if lines else None


def packages_of(engine: str) -> Path:
    """Return a directory to import that version from; it is installed once and kept."""
    if duckdb.__version__ == engine:
        return Path(duckdb.__file__).parents[1]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    target = _CACHE / f"duckdb-{engine}-python-{python}"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        if not target.is_dir():
            _install(engine, target)
    return target


def _install(engine: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=_CACHE) as directory:
        place = Path(directory) / "packages"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"),
                *("--no-deps", "--only-binary", ":all:", "--target", str(place)),
                f"duckdb=={engine}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = f"DuckDB {engine} cannot be installed: {done.stderr[-500:]}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        shutil.move(place, target)
