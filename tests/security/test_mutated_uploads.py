"""Mutated Parquet and Arrow files: they are loaded or refused, and what they stored can be read.

``CHRONODUCK_MUTATED_UPLOADS`` sets how many (300).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("CHRONODUCK_MUTATED_UPLOADS", "300"))
EACH_PROCESS = 5_000


def test_no_mutated_upload_ends_the_engine(tmp_path: Path) -> None:
    wrong = []
    loaded = 0
    for seed, done in enumerate(range(0, COUNT, EACH_PROCESS)):
        directory = tmp_path / str(seed)
        directory.mkdir()
        count = min(EACH_PROCESS, COUNT - done)
        worker = [
            sys.executable,
            "-m",
            "tests.security.upload_worker",
            directory,
            str(seed),
            str(count),
        ]
        ended = subprocess.run(
            worker, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
        )
        assert ended.returncode == 0, (directory / "current", ended.stderr[-2_000:])
        outcome = json.loads((directory / "outcome.json").read_text())
        wrong += outcome["wrong"]
        loaded += outcome["loaded"]
    assert wrong == []
    assert loaded > COUNT / 50
