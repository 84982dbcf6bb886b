"""The guard reads a text as DuckDB does, or refuses it.

It is compared with how it read once, and with the trees of the engine. ``CHRONODUCK_READING_INPUTS`` sets
how many mutated texts are read (30,000; ``make soak`` reads a million).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

INPUTS = int(os.environ.get("CHRONODUCK_READING_INPUTS", "30000"))
EACH_PROCESS = 50_000
REASONS = {
    "accepted -> characters": "a space, a control character or a sign that readers disagree about",
    "accepted -> unreadable: EXPLAIN": "an option that is not on the list; DuckDB ignores what it says",
    "accepted -> unreadable: the statement's tokens": "a literal that the tokenizer ends elsewhere",
    "accepted -> unreadable: the statement names something by a literal": "DROP SCHEMA 'x' of DuckDB 2.0",
    "accepted -> statement-kind: EXPLAIN": "EXPLAIN ANALYZE runs DDL",
    "accepted -> own-tables": "a backtick, N'' or two literals that DuckDB joins",
}
"""What the new reading refuses and the old one did not, and why that is right."""


def read(directory: Path, seed: int, count: int) -> dict[str, Any]:
    """Read texts in a process of its own and return what came of it."""
    directory.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.security.reading_worker", directory, str(seed), str(count)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    last = (directory / "current.txt").read_text()[:2_000] if done.returncode else ""
    assert done.returncode == 0, f"ended with {done.returncode} at {last}: {done.stderr[-2_000:]}"
    outcome: dict[str, Any] = json.loads((directory / "outcome.json").read_text())
    return outcome


def test_the_new_reading_only_refuses_more_and_for_known_reasons(tmp_path: Path) -> None:
    met: set[str] = set()
    accepted = 0
    for seed in range(max(1, INPUTS // EACH_PROCESS)):
        outcome = read(tmp_path / str(seed), seed, min(INPUTS, EACH_PROCESS))
        assert outcome["unseen"] == [], "the engine's tree names what no token says"
        accepted += outcome["totals"]["accepted"]
        for change in outcome["differences"]:
            reason = next((known for known in REASONS if change.startswith(known)), None)
            assert reason is not None, (change, outcome["examples"][change])
            met.add(reason)
    assert accepted > INPUTS / 50
    assert "accepted -> characters" in met
