"""The service as its users start it: a process of its own on a free port."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import httpx2

from chronoduck.engine.ownership import current_owner
from tests.patience import PATIENCE_SECONDS

__all__ = [
    "Server",
    "free_port",
    "is_alive",
    "lose_disk",
    "new_database",
    "run_cli",
    "settled_text",
    "watch_end",
]


_PORTS = iter(random.SystemRandom().sample(range(10_000, 32_000), 20_000))
"""Below those that the system gives to connections: such a one would be in the way of 0.0.0.0."""


def free_port() -> int:
    """Return a port that nobody listens on, and that this process has not returned before."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))
            return port
    raise AssertionError("no port is free")


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def environment(directory: Path, **settings: Any) -> dict[str, str]:
    """Return this process's environment with settings for a database in ``directory``."""
    given = {
        "DUCKDB_DATABASE_PATH": directory / "test.db",
        "DUCKDB_TEMP_DIRECTORY": directory / "temp",
        "DUCKDB_MEMORY_LIMIT": "500MB",
        "DUCKDB_BALLAST_SIZE": "0",
        # Each would start a process more that tests do not use: those that do switch it on.
        "DUCKDB_STANDBY": "false",
        "DUCKDB_SHADOW_ENABLED": "false",
        **settings,
    }
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("DUCKDB_")},
        **{name: str(value) for name, value in given.items()},
    }


def new_database(directory: Path) -> Path:
    """Make the empty database of ``environment``, for commands that only read."""
    path = directory / "test.db"
    duckdb.connect(str(path), config={"storage_compatibility_version": "v1.5.0"}).close()
    path.chmod(0o640)
    return path


def run_cli(
    directory: Path, *arguments: str, stdin: str | None = None, **settings: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "chronoduck", *arguments],
        env=environment(directory, **settings),
        cwd=directory,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def watch_end(pid: int | None) -> Callable[[], None]:
    """Return what waits for the end of a process that runs now, whoever its parent is."""
    try:
        descriptor = os.pidfd_open(pid) if pid is not None else None
    except ProcessLookupError:
        descriptor = None

    def wait() -> None:
        if descriptor is not None:
            ended, _, _ = select.select([descriptor], [], [], PATIENCE_SECONDS)
            os.close(descriptor)
            assert ended, f"process {pid} does not end"

    return wait


def settled_text(log: Path) -> str:
    """Return the whole lines of a log once it has not grown for a while: a thread writes them.

    Whoever reads it right after an event may read too early, or half a line. Where clients go on to
    send requests the log never rests: three seconds are enough for a line to come.
    """
    size, end = -1, time.monotonic() + 3.0
    while size != (size := log.stat().st_size) and time.monotonic() < end:
        time.sleep(0.3)
    whole, line_end, _ = log.read_text().rpartition("\n")
    return whole + line_end


def lose_disk(directory: Path) -> None:
    """Delete a directory with all that is in it, while processes of a killed service end and tidy up."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            shutil.rmtree(directory)
        if not directory.exists():
            return
    raise AssertionError(f"something writes into {directory} for ever")


class Server:
    """``chronoduck serve``: a supervisor and its server; a context manager.

    ``process`` is the supervisor, ``server_pid`` the process that answers and owns the database.
    """

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.directory = directory
        self.port = free_port()
        self.log = directory / "server.log"
        self.process: subprocess.Popen[str] = None  # type: ignore[assignment] # until it starts
        self._database = str(settings.get("DUCKDB_DATABASE_PATH", "test.db"))
        self._settings = {"DUCKDB_LOG_FILE": self.log, "DUCKDB_PORT": self.port, **settings}

    @property
    def url(self) -> str:
        scheme = "https" if "DUCKDB_TLS_CERT_FILE" in self._settings else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return (self.directory / "admin.token").read_text().strip()

    def start(self, seconds: float = PATIENCE_SECONDS) -> Server:
        if self.process is not None and self.process.stderr is not None:
            self.process.stderr.close()  # of an earlier start
        self.process = subprocess.Popen(
            [sys.executable, "-m", "chronoduck", "serve"],
            env=environment(self.directory, **self._settings),
            stderr=subprocess.PIPE,
            text=True,
        )
        if not self.becomes_ready(seconds):
            self.__exit__()
            raise AssertionError("the server did not become ready")
        return self

    def becomes_ready(self, seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait until it answers that it is; return whether it does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended: {self.process.communicate()[1]}")
            with contextlib.suppress(httpx2.TransportError):
                # Whose certificate it is, is what tests look at, not this.
                ready = httpx2.get(f"{self.url}/api/v1/duckdb/health/ready", verify=False)
                if ready.status_code == 200:
                    return True
            time.sleep(0.05)
        return False

    def client(self, **options: Any) -> httpx2.Client:
        """Return a client with the admin token."""
        return httpx2.Client(
            base_url=f"{self.url}/api/v1/duckdb",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=PATIENCE_SECONDS,
            **options,
        )

    def log_text(self) -> str:
        """Return the log's whole lines, once it has not grown for a while."""
        return settled_text(self.log)

    def log_lines(self) -> list[dict[str, Any]]:
        """Return the log's lines as their events, once it has not grown for a while."""
        return [json.loads(line) for line in self.log_text().splitlines()]

    def query(self, sql: str) -> list[list[Any]]:
        """Run one statement and return its rows."""
        with self.client() as client:
            response = client.post("/query", json={"query": sql})
            assert response.status_code == 200, response.text
            return response.json()["data"]

    @property
    def pid_of_owner(self) -> int | None:
        """The process that owns the database now, if one does."""
        owner = current_owner(self.directory / self._database)
        # Whoever took the lock a moment ago has not written who it is.
        return owner.pid or None if owner is not None else None

    @property
    def server_pid(self) -> int:
        """The process that owns the database now; there must be one.

        Never 0, which would mean the tests' own process group to a kill.
        """
        pid = self.pid_of_owner
        assert pid is not None, "no process owns the database"
        return pid

    def kill(self) -> None:
        """End everything at once, as the loss of the machine does."""
        ends = watch_end(self.pid_of_owner)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        ends()

    def kill_server(self) -> int:
        """End only the process that answers, as a crash in it does; returns what its id was."""
        pid = self.server_pid
        ends = watch_end(pid)
        os.kill(pid, signal.SIGKILL)
        ends()
        return pid

    def stop(self) -> int:
        """Ask it to end and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=PATIENCE_SECONDS)
        return self.process.returncode

    def resident_mb(self) -> float:
        status = Path(f"/proc/{self.server_pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1000

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        assert self.process.stderr is not None
        self.process.stderr.close()
