"""What this DuckDB cannot open is opened by a newer one of another environment, and then by this one."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest

from chronoduck.engine.offline import Run, Way, attempt, open_by_ways
from tests.damaged_wal import count_rows, crash
from tests.engines import NEWER, OLDER, packages_of, run_in

OPENERS = Path(__file__).with_name("openers.py")
_LEFT_BY_A_KILL = """
import os, signal, sys, duckdb
connection = duckdb.connect(sys.argv[1], config={"storage_compatibility_version": "v1.5.0"})
connection.execute("CREATE TABLE t (a INTEGER, made TIMESTAMP DEFAULT now())")
connection.execute("CHECKPOINT")
for number in range(5):
    connection.execute(f"INSERT INTO t (a) VALUES ({number})")
connection.execute("ALTER TABLE t ADD COLUMN b INTEGER DEFAULT 7")
connection.execute("INSERT INTO t (a) VALUES (5)")
os.kill(os.getpid(), signal.SIGKILL)
"""
_OPENED = """
import json, sys, duckdb
from pathlib import Path
from chronoduck.engine.offline import open_by_ways
database, newer = Path(sys.argv[1]), sys.argv[2]
try:
    duckdb.connect(str(database)).close()
except duckdb.Error as error:
    first = str(error)
way = open_by_ways(
    database, first, checkpoint=False, is_original=True, newer_engine=Path(newer) if newer else None
).way
with duckdb.connect(str(database)) as connection:
    connection.execute("INSERT INTO t (a) VALUES (6)")
    rows = connection.execute("SELECT a, b, made IS NOT NULL FROM t ORDER BY a").fetchall()
print(json.dumps([way, rows]))
"""


@pytest.fixture
def own_engine() -> Run:
    """An engine that dies of every WAL."""
    return functools.partial(attempt, command=[sys.executable, str(OPENERS), "crash", "0"])


def python_with(engine: str, directory: Path) -> Path:
    program = directory / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={packages_of(engine)} exec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return program


def test_nothing_is_lost_when_the_newer_engine_can_read_it(tmp_path: Path, own_engine: Run) -> None:
    database = tmp_path / "a.db"
    crash(database, ["CREATE TABLE t(a INTEGER)", "INSERT INTO t VALUES (0), (1)"])
    opening = open_by_ways(
        database,
        "it died",
        checkpoint=False,
        may_shorten=True,
        is_original=True,
        newer_engine=Path(sys.executable),
        run=own_engine,
    )
    assert opening.way is Way.NEWER_ENGINE
    assert count_rows(database) == [0, 1]


def test_the_other_ways_follow_when_it_cannot_either(tmp_path: Path, own_engine: Run) -> None:
    database = tmp_path / "a.db"
    crash(database, ["CREATE TABLE t(a INTEGER)", "CHECKPOINT", "INSERT INTO t VALUES (0)"])
    opening = open_by_ways(
        database,
        "it died",
        checkpoint=False,
        may_shorten=True,
        is_original=True,
        newer_engine=Path("/bin/false"),
        run=own_engine,
    )
    assert (opening.way, opening.lost) == (Way.SHORTENED, 1)
    assert any(refusal.endswith("(by /bin/false)") for refusal in opening.refusals)


def test_a_python_that_is_not_there_is_one_more_way_that_failed(
    tmp_path: Path, own_engine: Run
) -> None:
    database = tmp_path / "a.db"
    crash(database, ["CREATE TABLE t(a INTEGER)", "CHECKPOINT", "INSERT INTO t VALUES (0)"])
    opening = open_by_ways(
        database,
        "it died",
        checkpoint=False,
        may_shorten=True,
        newer_engine=tmp_path / "gone",
        run=own_engine,
    )
    assert opening.way is Way.SHORTENED
    assert any(str(tmp_path / "gone") in refusal for refusal in opening.refusals)


@pytest.mark.slow
def test_a_wal_of_the_older_engine_is_taken_in_by_the_newer_and_used_by_the_older(
    tmp_path: Path,
) -> None:
    database = tmp_path / "a.db"
    run_in(OLDER, _LEFT_BY_A_KILL, database, is_killed=True)
    way, rows = run_in(OLDER, _OPENED, database, python_with(NEWER, tmp_path))
    assert way == Way.NEWER_ENGINE
    assert rows == [[number, 7, True] for number in range(7)]
