"""An application with two workers does not start: one process owns the file, and the other names it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import environment, free_port

pytestmark = pytest.mark.slow

APPLICATION = """
from chronoduck import DuckDBService
from chronoduck.api import create_app

app = create_app(DuckDBService())
"""


def test_uvicorn_with_two_workers_ends_and_names_the_process_that_owns_the_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "application.py").write_text(APPLICATION)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "uvicorn", "application:app", "--workers", "2"),
            *("--port", str(free_port()), "--timeout-worker-healthcheck", "20"),
        ],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    said = done.stdout + done.stderr
    assert "test.db is in use: process " in said
    assert "Stopping parent process" in said
