"""A test that fails leaves no process behind: no server, nothing that the server started, no orphan."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.documents import REPOSITORY
from tests.patience import PATIENCE_SECONDS
from tests.server import is_alive

pytestmark = pytest.mark.slow

FAILING = """
import os
import subprocess
import sys
from pathlib import Path
import pytest
from tests.server import Server

PIDS = Path(__file__).with_name("pids")


def note(*pids: int) -> None:
    with PIDS.open("a") as file:
        file.writelines(f"{pid}\\n" for pid in pids)


@pytest.fixture(scope="module")
def shared():
    process = subprocess.Popen(["sleep", "1000"])
    note(process.pid)
    return process


def test_with_a_server_that_it_does_not_end(tmp_path, shared):
    server = Server(tmp_path, DUCKDB_REPLICA_URL=tmp_path / "replica").start()
    note(server.process.pid, server.server_pid)
    orphan = subprocess.run(
        ["sh", "-c", "setsid sleep 1000 > /dev/null 2>&1 & echo $!"], capture_output=True, text=True
    )
    note(int(orphan.stdout))
    assert False


def test_after_a_failure_shared_fixtures_live(shared):
    first = PIDS.read_text().split()
    assert shared.poll() is None
    assert [pid for pid in first if Path(f"/proc/{pid}/cmdline").exists()
            and Path(f"/proc/{pid}/cmdline").read_bytes()] == [str(shared.pid)]
"""


def test_a_failed_test_leaves_nothing_behind_and_a_run_neither(tmp_path: Path) -> None:
    (tmp_path / "test_failing.py").write_text(FAILING)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "tests.left_behind"),
            *("-p", "no:cacheprovider", "--import-mode=importlib", str(tmp_path)),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 4
    assert [pid for pid in pids if is_alive(pid)] == []
