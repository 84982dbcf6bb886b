"""Random SQL, a kill, a replay: nothing that the engine acknowledged is lost or changed silently.

``CHRONODUCK_FUZZ_SEQUENCES`` sets how many programs run (100), ``CHRONODUCK_FUZZ_FIRST`` the first
seed, ``CHRONODUCK_FUZZ_OUTPUT`` a directory for figures and for the smallest SQL of each finding.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.child import IS_NEW_ENGINE
from tests.fuzz.generator import generate
from tests.fuzz.program import Effect, Life, Model, Program, Step
from tests.fuzz.replay import SILENT, run_program
from tests.fuzz.shrink import shrink, sql_of

SEQUENCES = int(os.environ.get("CHRONODUCK_FUZZ_SEQUENCES", "100"))
FIRST = int(os.environ.get("CHRONODUCK_FUZZ_FIRST", "0"))
PROCESSES = 2
KNOWN = (
    "encountered an existing gated leaf in unique index",
    "likely the same row id was inserted twice into the same ART",
)
"""Of docs/engine-bugs.md, on the newer engine: found, and nothing of it is silent."""
REPOSITORY = Path(__file__).parents[2]
_TABLE = Step(0, "CREATE TABLE t (id BIGINT, n BIGINT)", (Effect("create", "t"),))


def program_of(*steps: Step, is_killed: bool = True) -> Program:
    return Program(0, "v1.0.0", (Life((_TABLE, *steps), is_killed),))


@pytest.mark.slow
def test_whatever_was_acknowledged_survives_the_replay(tmp_path: Path) -> None:
    output = Path(os.environ.get("CHRONODUCK_FUZZ_OUTPUT", tmp_path))
    output.mkdir(exist_ok=True)
    # Processes of their own: this one has threads of DuckDB, which a fork would not survive.
    runs = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.fuzz"),
                *("--first", str(FIRST + number), "--step", str(PROCESSES)),
                *("--count", str(SEQUENCES // PROCESSES)),
                *("--output", str(output / f"fuzz-{number}.json")),
                *("--shrink-seconds", "30" if IS_NEW_ENGINE else "0"),
            ],
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
        )
        for number in range(PROCESSES)
    ]
    assert [run.wait() for run in runs] == [0] * PROCESSES
    figures = [json.loads(path.read_text()) for path in sorted(output.glob("fuzz-*.json"))]
    findings = [finding for each in figures for finding in each["findings"]]
    assert sum(each["acknowledged"] for each in figures) > SEQUENCES * 5
    assert sum(each["kills"] for each in figures) > SEQUENCES
    silent = [finding for finding in findings if finding["kind"] in SILENT]
    assert silent == []
    if IS_NEW_ENGINE:
        new = [each for each in findings if not any(bug in each["detail"] for bug in KNOWN)]
        assert new == []
    else:  # its replay has known bugs, and a fuzz that does not find them finds nothing
        assert any(finding["kind"] == "open failed" for finding in findings)


def test_a_row_that_is_lost_is_found() -> None:
    """The engine did not do what the model was told."""
    step = Step(0, "SELECT 1", (Effect("insert", "t", 1, 5),))
    finding = run_program(program_of(step)).finding
    assert finding is not None
    assert finding.kind == "model differs in life" or finding.kind == "model differs"


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", ""])
def test_only_a_commit_makes_rows(end: str) -> None:
    insert = "INSERT INTO t SELECT i AS id, i % 97 AS n FROM range(1, 6) r(i)"
    steps = [Step(0, "BEGIN"), Step(0, insert, (Effect("insert", "t", 1, 5),))]
    if end:
        steps.append(Step(0, end))
    program = program_of(*steps)
    assert run_program(program).finding is None
    model = Model()
    for step in program.lives[0].steps:
        model.apply(step, is_ok=True)
    model.die()
    assert model.sums()["t"][0] == (5 if end == "COMMIT" else 0)


def test_a_program_is_made_smaller_until_nothing_can_go() -> None:
    lost = Step(0, "SELECT 2", (Effect("insert", "t", 1, 5),))
    padding = [Step(0, f"SELECT {number + 10}") for number in range(8)]
    program = program_of(*padding[:4], lost, *padding[4:])
    kind = run_program(program).finding
    assert kind is not None
    smallest = shrink(program, kind.kind, seconds=60)
    assert [step.sql for step in smallest.lives[0].steps] == [_TABLE.sql, lost.sql]
    assert sql_of(smallest).endswith("-- kill -9")


def test_a_seed_is_the_same_program_for_ever() -> None:
    assert generate(7, is_new_engine=True) == generate(7, is_new_engine=True)
    assert generate(7, is_new_engine=True) != generate(8, is_new_engine=True)
