"""A real PostgreSQL server in a directory of its own, run by a user without privileges."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import free_port

__all__ = ["PASSWORD", "PostgresServer", "SourceDatabase", "postgres_or_skip"]

PASSWORD = "pass word%&='s"
_USER = "reader"


def _bin() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: p.parts[-3])
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return Path(there).parent if there else None


def postgres_or_skip() -> PostgresServer:
    """Return a server that is not started; without PostgreSQL skip, in CI fail."""
    missing = "PostgreSQL (apt-get install postgresql)" if _bin() is None else ""
    if importlib.util.find_spec("adbc_driver_postgresql") is None:
        missing = "adbc-driver-postgresql"
    if missing and os.environ.get("CI"):
        pytest.fail(f"{missing} is not installed")
    if missing:
        pytest.skip(f"{missing} is not installed")
    return PostgresServer()


class PostgresServer:
    """``initdb``, ``postgres`` and statements by ``psql``; a context manager."""

    def __init__(self) -> None:
        found = _bin()
        assert found is not None
        self._bin = found
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres" if _has_user("postgres") else "nobody")
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self.directory, user.pw_uid, user.pw_gid)

    def __enter__(self) -> Self:
        secret = self.directory / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run("initdb", "-D", "data", "-U", "boss", "-A", "scram-sha-256", f"--pwfile={secret}")
        self.start()
        quoted = PASSWORD.replace("'", "''")
        self.sql(f"CREATE ROLE {_USER} LOGIN PASSWORD '{quoted}'; GRANT pg_monitor TO {_USER}")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._bin / program, *arguments],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            **self._as,
        )
        assert done.returncode == 0, done.stderr

    def start(self, **more: str) -> None:
        """Start it, with settings beside the usual ones, and wait until it answers."""
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
            "fsync": "off",
            "shared_buffers": "32MB",
            "wal_level": "logical",
            "max_replication_slots": "100",
            "max_wal_senders": "0",
            **more,
        }
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", "data", "-p", str(self.port)]
                + [f"--{name}={value}" for name, value in options.items()],
                cwd=self.directory,
                stdout=log,
                stderr=log,
                **self._as,
            )
        ready = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        end = time.monotonic() + PATIENCE_SECONDS
        while subprocess.run(ready, check=False).returncode:
            assert self._process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < end, (self.directory / "log").read_text()
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it: SIGINT ends its sessions, SIGQUIT everything at once."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    def sql(self, text: str, database: str = "postgres") -> list[list[str]]:
        """Run statements as the superuser and return the last one's rows as texts."""
        done = subprocess.run(
            [self._bin / "psql", "-XqAt", "-F", "\x1f", "-v", "ON_ERROR_STOP=1", "-f", "-"],
            env={
                "PGHOST": "127.0.0.1",
                "PGPORT": str(self.port),
                "PGUSER": "boss",
                "PGPASSWORD": PASSWORD,
                "PGDATABASE": database,
                "PGTZ": "UTC",
            },
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [line.split("\x1f") for line in done.stdout.splitlines()]

    def create_database(self, name: str) -> SourceDatabase:
        """Return a new database, whose tables the reader may read."""
        self.sql(f"CREATE DATABASE {name}")
        made = SourceDatabase(self, name)
        made.sql(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {_USER}")
        return made


@dataclass(frozen=True)
class SourceDatabase:
    """A database of the server."""

    server: PostgresServer
    name: str

    def sql(self, text: str) -> list[list[str]]:
        """Run statements as the superuser and return the last one's rows as texts."""
        return self.server.sql(text, self.name)

    @property
    def dsn(self) -> str:
        """The connection string of a user who may only read."""
        secret = quote(PASSWORD, safe="")
        return f"postgresql://{_USER}:{secret}@127.0.0.1:{self.server.port}/{self.name}"


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
