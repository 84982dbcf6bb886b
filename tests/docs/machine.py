"""A directory that stands for a machine which runs the service under systemd."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from chronoduck.engine.ownership import current_owner
from tests.docs.documents import REPOSITORY
from tests.patience import PATIENCE_SECONDS
from tests.server import free_port, run_cli, watch_end

__all__ = ["Machine", "until"]

SYSTEMD = REPOSITORY / "deploy" / "systemd"

# The real programs need a machine's first process. As with those, what a shell exports does not reach the
# service: it has the unit's Environment= and its EnvironmentFile, and a start that fails fails.
_SYSTEMCTL = r"""#!/bin/bash
root="@ROOT@"; pidfile="$root/service.pid"
case "$1 $2" in "enable --now") set -- start ;; "disable --now") set -- stop ;; esac
alive() { [ -f "$pidfile" ] && kill -0 "$(cat "$pidfile")" 2> /dev/null; }
case "$1" in
  stop|restart)
    if alive; then
      kill "$(cat "$pidfile")"
      while alive; do sleep 0.05; done
    fi
    rm -f "$pidfile" ;;
esac
case "$1" in
  start|restart)
    alive && exit 0
    env -i PATH="$PATH" HOME="$root" ${PYTHONPATH:+PYTHONPATH="$PYTHONPATH"} \
      "STARTED_BY_TESTS=$STARTED_BY_TESTS" setsid bash -c \
      "set -a; . $root/unit.env; exec chronoduck --env-file $root/etc/duckdb.env serve" \
      < /dev/null > /dev/null 2>> "$root/journal" &
    echo $! > "$pidfile"
    for _ in $(seq 300); do
      curl -s -o /dev/null http://localhost:@PORT@/api/v1/duckdb/health && exit 0
      alive || break
      sleep 0.1
    done
    echo "Job for chronoduck.service failed. See 'journalctl -u chronoduck'." >&2
    exit 1 ;;
  is-active) alive && echo active || { echo failed; exit 3; } ;;
esac
"""
_JOURNALCTL = """#!/bin/bash
tail -n 20 "@ROOT@/journal"
"""
# The commands run as the service's user, of whom there is none here: as whoever runs the tests.
_RUNUSER = """#!/bin/bash
[ "$1 $2 $3" = "-u chronoduck --" ] || exit 64
shift 3
exec "$@"
"""
# What /etc/fstab says of the replica's volume: the test unmounts it, the runbook mounts it again.
_MOUNT = """#!/bin/bash
exec /usr/bin/mount --bind "@ROOT@/store" "$1"
"""


def until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """Return what the condition says, once it says something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen")


class Machine:
    """Its database, replica, backups, settings and service; close it when done."""

    def __init__(self, root: Path, **settings: str) -> None:
        self.root = root
        self.port = free_port()
        self.data, self.replica, self.backups = (
            root / name for name in ("data", "replica", "backups")
        )
        self.log = root / "log" / "duckdb.log"
        self.journal = root / "journal"
        self.database = self.data / "chrono_analytics.db"
        self.places = {
            "/var/lib/duckdb": self.data,
            "/replica/duckdb": self.replica,
            "/backups/duckdb": self.backups,
            "/etc/chronoduck": root / "etc",
            "/var/log/chrono-scraper": root / "log",
            "/tmp/duckdb": root / "temp",
            "localhost:8000": f"localhost:{self.port}",
        }
        for directory in ("bin", "data", "etc", "log", "temp"):
            (root / directory).mkdir(exist_ok=True)
        programs = {
            "systemctl": _SYSTEMCTL,
            "journalctl": _JOURNALCTL,
            "mount": _MOUNT,
            "runuser": _RUNUSER,
        }
        for name, text in programs.items():
            program = root / "bin" / name
            program.write_text(text.replace("@ROOT@", str(root)).replace("@PORT@", str(self.port)))
            program.chmod(0o755)
        unit = re.findall(
            r"^Environment=(\S+)$", (SYSTEMD / "chronoduck.service").read_text(), re.MULTILINE
        )
        (root / "unit.env").write_text(self.here("\n".join(unit) + "\n"))
        (root / "etc" / "shell.sh").write_text(self.here((SYSTEMD / "shell.sh").read_text()))
        self.settings = {
            "DUCKDB_DATABASE_PATH": str(self.database),
            "DUCKDB_TEMP_DIRECTORY": str(root / "temp"),
            "DUCKDB_REPLICA_URL": str(self.replica),
            "DUCKDB_REPLICA_INTERVAL": "50ms",
            "DUCKDB_BACKUP_DIR": str(self.backups),
            "DUCKDB_BACKUP_SCHEDULE": "never",
            "DUCKDB_MEMORY_LIMIT": "500MB",
            # A shell would run "4" and the names of files, and drop the second limit.
            "DUCKDB_REPLICA_DRILL_SCHEDULE": "30 4 * * 0",
            "DUCKDB_QUOTA_VIEWER": "requests_per_minute=3000, concurrent_statements=32",
            "DUCKDB_PORT": str(self.port),
            "DUCKDB_BALLAST_SIZE": "0",
            "DUCKDB_STANDBY": "false",
            **settings,
        }
        lines = [f"{name}={value}\n" for name, value in self.settings.items()]
        (root / "etc" / "duckdb.env").write_text("".join(lines))

    def here(self, text: str) -> str:
        """Return a text of the documentation with the places of this machine."""
        for place, there in self.places.items():
            text = text.replace(place, str(there))
        return text

    def attempt(self, script: str, options: str = "") -> subprocess.CompletedProcess[str]:
        """Run commands as an operator would: pasted into a shell that is made ready as the index says."""
        first = f". /etc/chronoduck/shell.sh\n{options}\n"
        return subprocess.run(
            ["bash", "-c", self.here(first + script)],
            env={
                **{name: value for name, value in os.environ.items() if name[:7] != "DUCKDB_"},
                "PATH": f"{self.root}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(self.root),
                "COLUMNS": "240",
            },
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def run(self, script: str) -> str:
        """Run commands that must all succeed; return what they print."""
        done = self.attempt(script, "set -e -o pipefail")
        said = "".join(
            path.read_text()[-2000:] for path in (self.journal, self.log) if path.exists()
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}\n{said}"
        return done.stdout

    def cli(self, *arguments: str, **settings: str) -> str:
        """Run a command of ours that must succeed; return what it prints."""
        done = run_cli(self.root, *arguments, **{**self.settings, **settings})
        assert done.returncode == 0, done.stderr
        return done.stdout

    def query(self, sql: str) -> str:
        return self.cli("query", sql)

    @property
    def token(self) -> str:
        return (self.data / "admin.token").read_text().strip()

    def client(self, **options: Any) -> httpx2.Client:
        """Return a client with the admin token."""
        return httpx2.Client(
            base_url=f"http://localhost:{self.port}/api/v1/duckdb",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=PATIENCE_SECONDS,
            trust_env=False,
            **options,
        )

    def health(self) -> dict[str, Any]:
        with httpx2.Client(trust_env=False, timeout=PATIENCE_SECONDS) as client:
            url = f"http://localhost:{self.port}/api/v1/duckdb/health"
            report: dict[str, Any] = client.get(url).json()
        return report

    def rows(self) -> int:
        """Return the rows of the table, asked of the service or of the file."""
        printed = self.cli("query", "SELECT count(*) FROM pages_analytics", "--json")
        found = re.search(r'"data":\[\[(\d+)\]\]', re.sub(r"\s", "", printed))
        assert found, printed
        return int(found[1])

    def contents(self) -> str:
        """Return a sum over all values of the table, whatever the order of the rows."""
        return self.cli(
            "query",
            "SELECT count(*), sum(hash(t))::VARCHAR FROM pages_analytics t",
            "--format",
            "csv",
        )

    @property
    def pid_of_owner(self) -> int | None:
        """The process that owns the database, if one does."""
        owner = current_owner(self.database)
        # Whoever took the lock a moment ago has not written who it is.
        return owner.pid or None if owner is not None else None

    @property
    def server_pid(self) -> int:
        """The process that owns the database; there must be one."""
        pid = self.pid_of_owner
        assert pid is not None, "no process owns the database"
        return pid

    def kill(self) -> None:
        """End the service as a crash does; its replicator ships the rest and follows."""
        ends = watch_end(self.pid_of_owner)
        os.kill(int((self.root / "service.pid").read_text()), signal.SIGKILL)
        ends()
        (self.root / "service.pid").unlink()

    def flip(self, path: Path, where: float) -> None:
        """Change one bit of a file."""
        data = bytearray(path.read_bytes())
        data[int(len(data) * where)] ^= 1
        path.write_bytes(data)

    @contextmanager
    def statements(self, sql: str, count: int = 1) -> Iterator[list[int]]:
        """Have clients send a statement; they must be answered by the end. Yields their statuses."""
        answers: list[int] = []

        def ask() -> None:
            with self.client() as client:
                body = {"query": sql, "timeout_seconds": 120}
                answers.append(client.post("/query", json=body, timeout=150).status_code)

        asking = [threading.Thread(target=ask, daemon=True) for _ in range(count)]
        for each in asking:
            each.start()
        yield answers
        for each in asking:
            each.join(PATIENCE_SECONDS)
            assert not each.is_alive()

    def close(self) -> None:
        self.run("systemctl stop chronoduck")
