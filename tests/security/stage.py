"""The stage for hostile statements: a database with traps, and canaries all around it."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

_SETUP = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR);
INSERT INTO users VALUES (1, 'Ada'), (2, 'Grace');
CREATE SEQUENCE numbers;
CREATE VIEW harmless_view AS SELECT * FROM users;
CREATE MACRO harmless_until_two_arguments(a) AS a, (a, b) AS (SELECT content FROM read_text(b));
CREATE MACRO evil_macro(p) AS TABLE SELECT * FROM read_text(p);
CREATE MACRO evil_scalar(p) AS (SELECT content FROM read_text(p));
CREATE MACRO evil_setting(p) AS current_setting(p);
CREATE VIEW evil_view AS SELECT * FROM duckdb_settings();
CREATE VIEW evil_chain AS SELECT * FROM evil_view, users;
CREATE MACRO bomb_macro(a) AS length(repeat('x', 2000000000)) + a;
CREATE VIEW bomb_view AS SELECT length(repeat('x', 2000000000)) AS n;
CREATE MACRO fan_out(a) AS a + a + a + a;
CREATE VIEW v0 AS SELECT * FROM users;
"""


def make_database(path: Path) -> None:
    """Make the database that the statements are sent to, as an operator might have left it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(path)) as connection:
        connection.execute(_SETUP)
        for index in range(1, 8):
            connection.execute(
                f"CREATE VIEW v{index} AS SELECT a.* FROM v{index - 1} a JOIN v{index - 1} USING (id)"
            )
        connection.execute("CREATE VIEW view_of_views AS SELECT * FROM v7")
    path.chmod(0o600)


class Canary:
    """A port that counts who connects, and answers HTTP."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.hits = 0
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.hits += 1
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na\n1\n")
            connection.close()

    def close(self) -> None:
        """Stop listening."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


class Stage:
    """Places that hostile statements name, and what must not have happened to them."""

    def __init__(self, directory: Path, canary: Canary) -> None:
        self.database = directory / "data" / "test.db"
        self.temp = directory / "temp"
        self.canary = canary
        self.secret = directory / "outside" / "secret.csv"
        self.secret.parent.mkdir()
        self.words = "hunter2-" + hashlib.sha256(str(directory).encode()).hexdigest()[:12]
        self.secret.write_text(f"a\n{self.words}\n")
        make_database(self.database)
        self.places: dict[str, object] = {
            "secret": self.secret,
            "db": self.database,
            "temp": self.temp,
            "port": canary.port,
            "http": canary.port,
        }
        self._outside = self._listing()

    def _listing(self) -> list[str]:
        found = [str(path) for path in self.secret.parent.rglob("*")]
        return sorted(found + [str(path) for path in Path("/tmp").glob("chronoduck-*")])

    def check(self) -> None:
        """Assert that nobody read, wrote or called anything outside."""
        assert self.canary.hits == 0
        assert self.secret.read_text() == f"a\n{self.words}\n"
        assert self._listing() == self._outside


@contextmanager
def stage_in(directory: Path) -> Iterator[Stage]:
    """Set the stage in a directory."""
    canary = Canary()
    try:
        yield Stage(directory, canary)
    finally:
        canary.close()
