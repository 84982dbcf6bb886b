"""The README's Python examples run unchanged, as scripts, from the wheel, on a file that is new."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.documents import REPOSITORY, blocks
from tests.patience import PATIENCE_SECONDS

EXAMPLES = blocks(REPOSITORY / "README.md", "python")


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs_as_a_script(wheel: Path, tmp_path: Path, number: int) -> None:
    (tmp_path / "example.py").write_text(EXAMPLES[number])
    (tmp_path / "where.py").write_text("import chronoduck; print(chronoduck.__file__)")
    where = _run(tmp_path, wheel, "where.py")
    assert where.startswith(str(wheel))
    printed = _run(tmp_path, wheel, "example.py")
    assert printed.splitlines()[-1] == "['metric', 'sum(\"value\")'] [('logins', 1.0)]"


def _run(directory: Path, wheel: Path, script: str) -> str:
    database = directory / "data" / "mine.db"
    done = subprocess.run(
        [sys.executable, script],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(wheel), "DUCKDB_DATABASE_PATH": str(database)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
