"""The page about engine versions is followed to the letter, up and down, and the data is compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.documents import REPOSITORY
from tests.docs.engine_choice import engine_of, machine_of_engines
from tests.docs.machine import Machine
from tests.engines import NEWER, OLDER, run_in
from tests.server import settled_text

pytestmark = pytest.mark.slow
PAGE = (REPOSITORY / "docs" / "engine-versions.md").read_text()

_CANNOT_BE_REPLAYED = """
import os, signal, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("ALTER TABLE t ADD COLUMN c INTEGER DEFAULT 7")
connection.execute("INSERT INTO t (a, b) VALUES (1000, 'last')")
os.kill(os.getpid(), signal.SIGKILL)
"""


def steps(heading: str) -> list[str]:
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section, heading
    return re.findall(r"^```sh\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with machine_of_engines(tmp_path) as made:
        yield made


def contents(machine: Machine) -> str:
    sql = "SELECT count(*), sum(a), max(b), count(made) FROM t"
    return machine.cli("query", sql, "--format", "csv")


def write(machine: Machine, first: int) -> None:
    for number in range(first, first + 5):
        machine.query(f"INSERT INTO t (a, b) VALUES ({number}, 'b{number}')")
    machine.query(f"UPDATE t SET b = b || 'x' WHERE a % {first} = 0")


def generations(machine: Machine) -> int:
    return len(list((machine.replica / "generations").iterdir()))


def restored(machine: Machine, name: str, to: str = "latest") -> str:
    target = machine.root / f"{name}.db"
    machine.run(f"chronoduck restore --to {to} --output {target} --verify full")
    return machine.run(f"chronoduck query --database {target} 'FROM t ORDER BY ALL' --format csv")


def test_the_page_takes_a_database_up_and_back(machine: Machine) -> None:
    machine.run(f"pip install 'duckdb=={OLDER}'\nsystemctl start chronoduck")
    assert engine_of(machine) == f"v{OLDER}"
    machine.query("CREATE TABLE t (a INTEGER PRIMARY KEY, b VARCHAR, made TIMESTAMP DEFAULT now())")
    write(machine, 1)
    before = contents(machine)
    assert "durability bugs" in machine.run("chronoduck doctor")

    (up,) = steps(f"Going to DuckDB {NEWER}")
    machine.run(up)
    assert engine_of(machine) == f"v{NEWER}"
    assert contents(machine) == before
    in_older = generations(machine)
    write(machine, 100)
    machine.query("ALTER TABLE t ADD COLUMN n INTEGER")
    middle = contents(machine)

    look, back = steps(f"Going back to DuckDB {OLDER}")
    assert "understands all that is in it" in machine.run(look)
    whole = machine.run("chronoduck query 'FROM t ORDER BY ALL' --format csv")
    machine.run(back)
    assert engine_of(machine) == f"v{OLDER}"
    assert contents(machine) == middle
    write(machine, 200)
    machine.run("systemctl stop chronoduck")
    assert generations(machine) > in_older
    assert restored(machine, "latest") != whole
    points = [
        point["time"] for point in json.loads(machine.run("chronoduck restore --list --json"))
    ]
    assert len(points) > 8
    with_table = points[len(points) // 4 :]  # the first points are older than the table
    for number, point in enumerate(with_table[:: len(with_table) // 2]):
        restored(machine, f"point-{number}", point)
    machine.run("systemctl start chronoduck")


def test_a_kill_stands_in_the_way_back(machine: Machine) -> None:
    machine.run(f"pip install 'duckdb=={NEWER}'\nsystemctl start chronoduck")
    machine.query("CREATE TABLE t (a INTEGER PRIMARY KEY, b VARCHAR, made TIMESTAMP DEFAULT now())")
    write(machine, 1)
    before = contents(machine)
    machine.kill()
    done = machine.attempt(f"pip install 'duckdb=={OLDER}'\nsystemctl start chronoduck")
    assert done.returncode != 0
    said = machine.journal.read_text() + (settled_text(machine.log) if machine.log.exists() else "")
    assert f"was written by DuckDB {NEWER}" in said
    machine.run(
        f"pip install 'duckdb=={NEWER}'\nsystemctl start chronoduck\n"
        f"systemctl stop chronoduck\npip install 'duckdb=={OLDER}'\n"
        "systemctl start chronoduck"
    )
    assert engine_of(machine) == f"v{OLDER}"
    assert contents(machine) == before


def test_a_newer_engine_at_hand_opens_what_this_one_cannot(machine: Machine) -> None:
    machine.run(f"pip install 'duckdb=={OLDER}'\nsystemctl start chronoduck")
    machine.query("CREATE TABLE t (a INTEGER PRIMARY KEY, b VARCHAR, made TIMESTAMP DEFAULT now())")
    write(machine, 1)
    machine.query("CHECKPOINT")
    rows = machine.cli("query", "SELECT a, b FROM t ORDER BY a", "--format", "csv")
    machine.kill()
    run_in(OLDER, _CANNOT_BE_REPLAYED, machine.database, is_killed=True)

    (install,) = steps("A newer engine at hand")
    machine.run(install.replace("/opt", str(machine.root / "opt")))
    machine.run("systemctl start chronoduck")
    assert engine_of(machine) == f"v{OLDER}"
    assert '"way":"newer_engine"' in settled_text(machine.log)
    found = machine.cli("query", "SELECT a, b FROM t ORDER BY a", "--format", "csv")
    assert found == rows + "1000,last\n"
