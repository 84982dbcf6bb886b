"""The engine keeps to what replica and healing rest on; ``CHRONODUCK_FACTS_ROUNDS``: the depth (6)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.fuzz.facts import FACTS, STORAGES

pytestmark = pytest.mark.slow
ROUNDS = int(os.environ.get("CHRONODUCK_FACTS_ROUNDS", "6"))


def test_the_engine_keeps_to_what_replica_and_healing_rest_on() -> None:
    # A process of its own: it forks, and this one has threads of DuckDB.
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.facts", "--json", "--rounds", str(ROUNDS)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
    )
    found = orjson.loads(run.stdout)
    for storage in STORAGES:
        unchanged, prefixes, copies, failures, wal, file, kills = (
            found[title][storage] for title in FACTS
        )
        assert unchanged["changed files"] == 0
        assert prefixes["wrong"] == 0
        assert copies["wrong"] == copies["moved headers"] == copies["rewritten WAL"] == 0
        assert copies["copies"] == ROUNDS
        assert failures["failed commits"] == 3 * failures["goes on"] > 0
        assert failures["right after reopening"] > 0
        assert "wrong after reopening" not in failures
        assert "unlimited" not in failures
        assert failures["ended otherwise"] == 0
        assert wal["other rows"] == file["other rows"] == 0
        assert kills["lost"] == kills["doubled"] == 0
        assert kills["kills"] == ROUNDS
