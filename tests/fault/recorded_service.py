"""A real service that does everything it does with files, while every write and sync is recorded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.fault.power_cut import Entry, Kind, Record
from tests.patience import PATIENCE_SECONDS
from tests.server import Server, run_cli

__all__ = ["Answers", "Recording", "record_service", "rows_of", "settings_of"]

_PLAIN, _KEYED = "plain", "keyed"
_ID = b"x-request-id: "


def rows_of(number: int) -> int:
    """Return how many rows a write inserts: one, some in the WAL, or a bulk past the WAL."""
    return 125_000 if number % 40 == 20 else 2_000 if number % 8 == 0 else 1


def settings_of(root: Path) -> dict[str, Any]:
    """Return the settings of the service, before and after a power cut."""
    return {
        "DUCKDB_DATABASE_PATH": root / "test.db",
        "DUCKDB_REPLICA_URL": root / "replica",
        "DUCKDB_REPLICA_INTERVAL": "50ms",
        "DUCKDB_BACKUP_DIR": root / "backups",
        "DUCKDB_CHECKPOINT_COMMITS": "40",
        # Neither has to outlive a power cut.
        "DUCKDB_TEMP_DIRECTORY": root.parent / "temp",
        "DUCKDB_LOG_FILE": root.parent / "server.log",
    }


@dataclass
class Answers:
    """What the service answered, by the request's name: where in the record, and what."""

    sent: dict[str, int] = field(default_factory=dict)
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    """Requests that were begun, answered or not."""

    def before(self, position: int, prefix: str) -> list[str]:
        """Return the requests that were answered with success before the cut, without the prefix."""
        return [
            name.removeprefix(prefix)
            for name, at in self.sent.items()
            if name.startswith(prefix) and at < position and name in self.bodies
        ]


@dataclass
class Recording:
    """A run that has ended."""

    root: Path
    inode: int
    """Of the root, while it was recorded."""
    entries: list[Entry]
    answers: Answers
    key: str
    """The API key that was made."""
    key_made: int
    """Where in the record ``keys create`` had ended."""
    token: str
    """The admin's."""

    def locate_answers(self) -> None:
        """Find the place of each answer in the record."""
        for index, entry in enumerate(self.entries):
            if entry.kind is Kind.SENT and entry.first.startswith(b"HTTP/1.1 2"):
                _, _, rest = entry.first.lower().partition(_ID)
                name = rest.partition(b"\r\n")[0].decode()
                self.answers.sent.setdefault(name, index)


class _Clients:
    """Writers that go on until they are told to end."""

    def __init__(self, server: Server, answers: Answers) -> None:
        self._server = server
        self._answers = answers
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self.failures: list[str] = []

    def ask(self, client: httpx2.Client, name: str, path: str, **request: Any) -> dict[str, Any]:
        """Send a request with a name; note a success."""
        self._answers.asked.add(name)
        headers = {"X-Request-ID": name, **request.pop("headers", {})}
        response = client.request(request.pop("method", "POST"), path, headers=headers, **request)
        assert response.status_code < 300, (name, response.text)
        body: dict[str, Any] = response.json()
        self._answers.bodies[name] = body
        return body

    def query(self, client: httpx2.Client, name: str, sql: str) -> None:
        self.ask(client, name, "/query", json={"query": sql})

    def start(self, *writers: Callable[[httpx2.Client, int], None]) -> None:
        for writer in writers:
            thread = threading.Thread(target=self._go_on, args=(writer,))
            thread.start()
            self._threads.append(thread)

    def _go_on(self, writer: Callable[[httpx2.Client, int], None]) -> None:
        number = 0
        try:
            with self._server.client() as client:
                while not self._ending.is_set():
                    number += 1
                    writer(client, number)
        except Exception as error:  # noqa: BLE001 - the test's thread raises it
            self.failures.append(repr(error))

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        assert not self.failures, self.failures

    # -- what they write

    def plain(self, client: httpx2.Client, number: int) -> None:
        text = f"INSERT INTO t SELECT {number}, 'plain' FROM range({rows_of(number)})"
        self.query(client, f"{_PLAIN}-{number}", text)

    def keyed(self, client: httpx2.Client, number: int) -> None:
        self.ask(
            client,
            f"{_KEYED}-{number}",
            "/tables/u/rows",
            content=f'{{"a":{number},"b":"keyed"}}\n',
            headers={"Content-Type": "application/x-ndjson", "Idempotency-Key": f"k{number}"},
        )
        time.sleep(0.01)

    def shape(self, client: httpx2.Client, number: int) -> None:
        """Change the catalog, and checkpoint."""
        sql = f"CREATE TABLE s{number} AS SELECT range AS a FROM range({number * 1000})"
        self.query(client, f"made-{number}", sql)
        time.sleep(0.2)
        sql = f"ALTER TABLE s{number} ADD COLUMN c VARCHAR DEFAULT 'x'"
        self.query(client, f"altered-{number}", sql)
        # Refused while an older reader is at work, which the service is itself.
        client.post("/query", json={"query": "CHECKPOINT"})

    def watch(self, client: httpx2.Client, number: int) -> None:
        """Ask up to when the replica can restore."""
        self.ask(client, f"replication-{number}", "/replication", method="GET")
        time.sleep(0.2)

    def job(self, client: httpx2.Client, name: str, path: str, **body: Any) -> None:
        """Start a job and wait until it is reported to have succeeded."""
        job = self.ask(client, f"start-{name}", path, json=body)
        end = time.monotonic() + PATIENCE_SECONDS
        while job["state"] == "running":
            assert time.monotonic() < end, job
            time.sleep(0.05)
            job = client.get(f"/jobs/{job['id']}").json()
        assert job["state"] == "succeeded", job
        self.ask(client, f"{name}-{job['id']}", f"/jobs/{job['id']}", method="GET")


def record_service(root: Path, record: Record, seconds: float) -> Recording:
    """Run a service below ``root``, have it write for some seconds, and stop it."""
    root.mkdir()
    answers = Answers()
    settings = {**settings_of(root), **record.environment}
    server = Server(root, **settings)
    with server:
        clients = _Clients(server, answers)
        with server.client() as client:
            clients.query(client, "table-t", "CREATE TABLE t (a INTEGER, b VARCHAR)")
            clients.query(client, "table-u", "CREATE TABLE u (a INTEGER PRIMARY KEY, b VARCHAR)")
            clients.start(clients.plain, clients.keyed, clients.shape, clients.watch)
            until = time.monotonic() + seconds
            clients.job(client, "backup", "/backups")
            clients.job(client, "statement", "/jobs", query="SELECT count(*) AS many FROM t")
            made = run_cli(root, "keys", "create", "--name", "ann", "--role", "analyst", **settings)
            assert made.returncode == 0, made.stderr
            key_made = record.count()
            clients.job(client, "compact", "/compact")
            number = 0
            while time.monotonic() < until or number < 2:
                number += 1
                clients.job(client, "statement", "/jobs", query=f"SELECT {number} AS many")
            clients.end()
            clients.query(client, "table-v", "CREATE TABLE v AS SELECT 1 AS a")
        assert server.stop() == 0
    recording = Recording(
        root,
        root.stat().st_ino,
        record.entries(),
        answers,
        made.stdout.strip(),
        key_made,
        server.token,
    )
    recording.locate_answers()
    return recording
