"""The page on upgrades is followed to the letter, up and back, and what a service keeps is compared."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.documents import REPOSITORY, blocks, script_blocks
from tests.docs.engine_choice import engine_of, machine_of_engines
from tests.docs.machine import Machine, until
from tests.engines import NEWER, OLDER

pytestmark = pytest.mark.slow
PAGE = "upgrade.md"
PIP = "/opt/chronoduck/bin/pip install "


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with machine_of_engines(tmp_path) as made:
        yield made


def _follow(machine: Machine, heading: str, wanted: str, engine: str) -> None:
    """Run the section's blocks; what pip would bring of a release is its engine."""
    text = "".join(script_blocks(PAGE, heading))
    assert PIP + wanted in text
    for command in text.replace(PIP + wanted, f"pip install duckdb=={engine}").splitlines():
        machine.run(command)


class Kept:
    """What must be the same after each step: rows, keys, statements of the log, results of jobs."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        with machine.client() as client:
            job = client.post("/jobs", json={"query": "SELECT a, b FROM t ORDER BY a"}).json()
            self._result = f"/jobs/{job['id']}/result"
            until(lambda: client.get(self._result).status_code == 200)
        machine.cli("keys", "create", "--name", "anna", "--role", "viewer")
        self.first = self.now()

    def now(self) -> dict[str, Any]:
        # A statement is in the log a moment after it was answered.
        logged = "SELECT bool_or(statement LIKE 'create table t(%') FROM chronoduck.query_log"
        until(lambda: "true" in self._machine.cli("query", logged, "--format", "csv"))
        with self._machine.client() as client:
            return {
                "rows": self._machine.cli("query", "FROM t ORDER BY ALL", "--format", "csv"),
                "result": client.get(self._result).json()["data"],
                "keys": [(key["name"], key["role"]) for key in client.get("/keys").json()["keys"]],
            }


def _write(machine: Machine, first: int) -> None:
    for number in range(first, first + 3):
        machine.query(f"INSERT INTO t VALUES ({number}, 'b{number}')")


def _points(machine: Machine) -> int:
    return len(machine.run("chronoduck restore --list --json").split('"time"')) - 1


def test_an_upgrade_and_the_way_back_keep_everything(machine: Machine) -> None:
    machine.run(f"pip install 'duckdb=={OLDER}'\nsystemctl start chronoduck")
    machine.query("CREATE TABLE t (a INTEGER PRIMARY KEY, b VARCHAR)")
    _write(machine, 1)
    kept = Kept(machine)
    points = _points(machine)

    _follow(machine, "The order", "--upgrade chronoduck", NEWER)
    assert engine_of(machine) == f"v{NEWER}"
    assert kept.now() == kept.first
    assert _points(machine) >= points, "all points before stay"
    _write(machine, 10)
    machine.query("DELETE FROM t WHERE a = 1")
    later = kept.now()
    assert later["rows"] != kept.first["rows"]

    _follow(machine, "Going back", "'chronoduck==VERSION'", OLDER)
    assert engine_of(machine) == f"v{OLDER}"
    assert kept.now() == later
    assert _points(machine) >= points
    restored = machine.root / "restored.db"
    machine.run(f"chronoduck restore --to latest --output {restored} --verify full")
    sql = "FROM t ORDER BY ALL"
    found = machine.run(f"chronoduck query --database {restored} '{sql}' --format csv")
    assert found == later["rows"]


def test_a_unit_from_before_becomes_the_new_one_with_its_settings_and_user(
    tmp_path: Path,
) -> None:
    etc = tmp_path / "etc"
    for place in ("systemd/system", "chrono-scraper"):
        (etc / place).mkdir(parents=True)
    (etc / "systemd/system/chrono-scraper.service").write_text("[Service]\nUser=app\n")
    (etc / "chrono-scraper/duckdb.env").write_text("DUCKDB_PORT=1234\n")
    (block,) = script_blocks(PAGE, "A unit from before")
    block = block.replace("/opt/chronoduck/bin/", "").replace(
        "--user app", f"--user app --root {tmp_path}"
    )
    block = block.replace("systemctl", ": systemctl")  # nothing is to be started
    subprocess.run(
        ["bash", "-e", "-c", block.replace("/etc/", f"{etc}/")],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
    )
    assert (etc / "chronoduck/duckdb.env").read_text() == "DUCKDB_PORT=1234\n"
    assert "User=app" in (etc / "systemd/system/chronoduck.service").read_text()
    assert (etc / "systemd/system/chrono-scraper.service.old").exists()
    assert not (etc / "systemd/system/chrono-scraper.service").exists()


def test_every_block_of_the_page_is_run() -> None:
    headings = ("The order", "Going back", "A unit from before")
    run = [block for heading in headings for block in script_blocks(PAGE, heading)]
    assert sorted(run) == sorted(blocks(REPOSITORY / "docs" / PAGE, "sh"))
