"""Random statements: the guard neither fails nor hangs, and what it accepts does nothing outside.

``CHRONODUCK_FUZZ_INPUTS`` sets how many are judged (10,000), ``CHRONODUCK_FUZZ_EXECUTED`` how many of
those that it accepts are run (1,500).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBException
from chronoduck.principals import Role
from chronoduck.settings import Settings
from tests.security.roles import caller_of
from tests.security.stage import stage_in

pytestmark = pytest.mark.slow

INPUTS = int(os.environ.get("CHRONODUCK_FUZZ_INPUTS", "10000"))
EACH_PROCESS = 50_000
EXECUTED = int(os.environ.get("CHRONODUCK_FUZZ_EXECUTED", "1500"))
UNCHANGED = """
SELECT (SELECT list(name || coalesce(value, '') ORDER BY name)::VARCHAR FROM duckdb_settings()),
       (SELECT list(database_name ORDER BY 1)::VARCHAR FROM duckdb_databases()),
       (SELECT count(*) FROM duckdb_secrets())
"""
READERS_LEAVE = "SELECT list(u ORDER BY id)::VARCHAR FROM users u"


def fuzz(directory: Path, seed: int, count: int) -> dict[str, Any]:
    """Judge statements in a process of its own and return what came of it."""
    directory.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.security.fuzz_worker", directory, str(seed), str(count)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    last = (directory / "current.txt").read_text()[:2_000] if done.returncode else ""
    assert done.returncode == 0, f"ended with {done.returncode} at {last}: {done.stderr[-2_000:]}"
    outcome: dict[str, Any] = json.loads((directory / "outcome.json").read_text())
    return outcome


def test_the_guard_neither_fails_nor_hangs(tmp_path: Path) -> None:
    totals = {"accepted": 0, "refused": 0, "invalid": 0}
    for seed in range(max(1, INPUTS // EACH_PROCESS)):
        outcome = fuzz(tmp_path / str(seed), seed, min(INPUTS, EACH_PROCESS))
        assert outcome["crashes"] == []
        for name, count in outcome["totals"].items():
            totals[name] += count
    assert sum(totals.values()) >= (INPUTS // EACH_PROCESS * EACH_PROCESS or INPUTS)
    # All kinds of outcomes were met, or the statements would prove little.
    assert min(totals.values()) > sum(totals.values()) / 50


async def test_what_it_accepts_does_nothing_outside(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    accepted = fuzz(tmp_path / "fuzz", 1_000_003, 8 * EXECUTED)["accepted"][:EXECUTED]
    assert len(accepted) == EXECUTED
    ran = 0
    with stage_in(tmp_path) as stage:
        async with DuckDBService(make_settings(database_path=stage.database)) as service:
            before = (await service.execute_query(UNCHANGED)).data
            for role in (Role.ANALYST, Role.WRITER, Role.ADMIN):
                is_reader = role is Role.ANALYST
                users = (await service.execute_query(READERS_LEAVE)).data if is_reader else []
                for sql in (sql for name, sql in accepted if name == role.value):
                    try:
                        await service.execute_query(
                            sql, timeout=0.5, max_rows=1_000, caller=caller_of(role)
                        )
                    except DuckDBException as error:
                        assert stage.words not in str(error), sql
                    else:
                        ran += 1
                if is_reader:
                    assert (await service.execute_query(READERS_LEAVE)).data == users
            assert (await service.execute_query(UNCHANGED)).data == before
            assert (await service.health_check())["status"] == "healthy"
        stage.check()
    assert ran > EXECUTED / 20
