"""Each runbook is run on a service that is broken in just that way; afterwards the data is compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from chronoduck.engine.ownership import current_owner
from tests.docs.documents import REPOSITORY
from tests.server import free_port, run_cli, watch_end

pytestmark = pytest.mark.slow
RUNBOOKS = (REPOSITORY / "docs" / "runbooks.md").read_text()
_SECTION = re.compile(r"^## (.*?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = dict(_SECTION.findall(RUNBOOKS))
ROWS = 500

# systemctl for one service, as a shell function: the real program needs a machine's first process.
_SYSTEMCTL = r"""
systemctl() {
  pidfile="$HOME/service.pid"
  case "$1" in
    stop|restart)
      if [ -f "$pidfile" ]; then
        kill "$(cat "$pidfile")" 2> /dev/null || true
        while kill -0 "$(cat "$pidfile")" 2> /dev/null; do sleep 0.05; done
        rm "$pidfile"
      fi ;;
  esac
  case "$1" in
    start|restart)
      (exec 2>> "$HOME/service.log" >&2; exec setsid chronoduck serve) < /dev/null &
      echo $! > "$pidfile"
      for _ in $(seq 200); do
        if curl -s -o /dev/null http://localhost:$DUCKDB_PORT/api/v1/duckdb/health; then break; fi
        kill -0 "$(cat "$pidfile")" 2> /dev/null || break
        sleep 0.1
      done ;;
  esac
}
"""


class Machine:
    """A directory that stands for a machine: its database, replica, backups and service."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"
        self.data.mkdir()
        self.database = self.data / "chrono_analytics.db"
        self.port = free_port()
        self.settings = {
            "DUCKDB_DATABASE_PATH": str(self.database),
            "DUCKDB_TEMP_DIRECTORY": str(root / "temp"),
            "DUCKDB_REPLICA_URL": str(root / "replica"),
            "DUCKDB_REPLICA_INTERVAL": "50ms",
            "DUCKDB_BACKUP_DIR": str(root / "backups"),
            "DUCKDB_PORT": str(self.port),
            "DUCKDB_BALLAST_SIZE": "0",
        }

    def run(self, script: str) -> str:
        """Run a runbook's commands in one shell and return what they print; each must succeed."""
        for place, there in (
            ("/var/lib/duckdb", self.data),
            ("/backups/duckdb", self.root / "backups"),
            ("localhost:8000", f"localhost:{self.port}"),
        ):
            script = script.replace(place, str(there))
        done = subprocess.run(
            ["bash", "-c", f"{_SYSTEMCTL}\nset -e -o pipefail\n{script}"],
            env={
                **{name: value for name, value in os.environ.items() if name[:7] != "DUCKDB_"},
                **self.settings,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(self.root),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        log = self.root / "service.log"
        said = log.read_text()[-2000:] if log.exists() else ""
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}\n{said}"
        return done.stdout

    def rows(self) -> int:
        """Return the rows of the table, asked of the service or of the file."""
        out = run_cli(
            self.root, "query", "SELECT count(*) FROM pages_analytics", "--json", **self.settings
        )
        assert out.returncode == 0, out.stderr
        found = re.search(r'"data":\[\[(\d+)\]\]', out.stdout.replace(" ", "").replace("\n", ""))
        assert found, out.stdout
        return int(found[1])

    def kill(self) -> None:
        """End the service as a crash does; its replicator ships the rest and follows."""
        pid = int((self.root / "service.pid").read_text())
        owner = current_owner(self.database)
        ends = watch_end(owner.pid if owner else 0)
        os.kill(pid, 9)
        ends()
        (self.root / "service.pid").unlink()

    def flip(self, path: Path, where: float) -> None:
        """Change one bit of a file."""
        data = bytearray(path.read_bytes())
        data[int(len(data) * where)] ^= 1
        path.write_bytes(data)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    machine.run("systemctl start chrono-scraper")
    for command in (
        ("query", f"CREATE TABLE pages_analytics AS SELECT range AS a FROM range({ROWS - 1})"),
        ("backup", "create"),
        ("query", "CHECKPOINT"),
        ("query", "INSERT INTO pages_analytics VALUES (-1)"),
    ):
        done = run_cli(tmp_path, *command, **machine.settings)
        assert done.returncode == 0, done.stderr
    yield machine
    machine.run("systemctl stop chrono-scraper")


def _corrupt(machine: Machine) -> None:
    machine.run("systemctl stop chrono-scraper")
    machine.flip(machine.database, 0.01)


def _damage_log(machine: Machine) -> None:
    for _ in range(20):
        run_cli(
            machine.root, "query", "INSERT INTO pages_analytics VALUES (-1)", **machine.settings
        )
    machine.kill()
    machine.flip(machine.database.with_name(machine.database.name + ".wal"), 0.5)


def _lose_disk(machine: Machine) -> None:
    machine.run("systemctl stop chrono-scraper")
    shutil.rmtree(machine.data)
    machine.data.mkdir(mode=0o750)


def _lose_replica(machine: Machine) -> None:
    machine.run("systemctl stop chrono-scraper")
    shutil.rmtree(machine.root / "replica")
    machine.flip(machine.database, 0.01)


def _put_older_file(machine: Machine) -> None:
    machine.run("systemctl stop chrono-scraper")
    for path in machine.data.glob("chrono_analytics.db*"):
        path.unlink()
    created = run_cli(
        machine.root,
        *("query", f"CREATE TABLE pages_analytics AS SELECT 1 AS a FROM range({ROWS})"),
        **{**machine.settings, "DUCKDB_REPLICA_URL": ""},
    )
    assert created.returncode == 0, created.stderr


BREAK: dict[str, tuple[Callable[[Machine], None], int | None]] = {
    "The service is down": (Machine.kill, ROWS),
    "The database is corrupt": (_corrupt, ROWS),
    "The log is damaged": (_damage_log, None),
    "The disk is lost": (_lose_disk, ROWS),
    "There is no replica, only backups": (_lose_replica, ROWS - 1),
    "Somebody deleted the wrong rows": (lambda machine: None, ROWS),
    "The database and its replica do not agree": (_put_older_file, ROWS),
    "The disk is full": (lambda machine: None, ROWS),
    "Memory is exhausted": (lambda machine: None, ROWS),
}


def test_every_runbook_has_its_disaster() -> None:
    assert set(SECTIONS) == set(BREAK)


@pytest.mark.parametrize("title", SECTIONS)
def test_a_runbook_mends_what_it_is_for(title: str, machine: Machine) -> None:
    break_it, rows = BREAK[title]
    break_it(machine)
    scripts = re.findall(r"^```sh\n(.*?)^```$", SECTIONS[title], re.MULTILINE | re.DOTALL)
    assert scripts
    for script in scripts:
        printed = machine.run(script)
        if ".status" in script:
            assert printed.splitlines()[-1] in ("healthy", "degraded"), printed
    if rows is None:  # some are lost, and it was said
        assert ROWS <= machine.rows() < ROWS + 20
        assert "log_quarantined" in (machine.root / "service.log").read_text()
    else:
        assert machine.rows() == rows
    with httpx2.Client(trust_env=False) as client:
        report = client.get(f"http://localhost:{machine.port}/api/v1/duckdb/health").json()
    assert report["service_initialized"]
