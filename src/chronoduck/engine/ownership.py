"""One process owns one database file: a lock on a file beside it, with the owner's address in it.

DuckDB locks the database file itself, but a POSIX lock is dropped when *any* descriptor of the file
is closed in the process, and a hard link gets round it. This lock is on a file of its own, and tells
the second process (and the command line) who the owner is.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from chronoduck.errors import DatabaseLockedError, DatabasePermissionError
from chronoduck.errors.system import reason_of
from chronoduck.permissions import describe_path, directory_advice

__all__ = ["DatabaseOwnership", "Owner", "current_owner", "lock_path", "wait_for_orphan"]

_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Owner:
    """The process that owns a database file; ``url`` is where it serves, if it does."""

    pid: int
    url: str | None = None
    parent: int | None = field(default=None, compare=False)
    """Its parent when it took the file: a supervisor, whose death it does not survive."""

    @property
    def is_orphaned(self) -> bool:
        """Whether its parent has died since: a served process then dies at any moment."""
        if self.pid <= 0:
            return False
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return True  # it is gone already
        state, parent = fields[0], int(fields[1])
        return state in "ZX" or (self.parent is not None and parent != self.parent)


def lock_path(database: Path) -> Path:
    """Return the lock file of a database file."""
    return database.with_name(database.name + ".lock")


def current_owner(database: Path) -> Owner | None:
    """Return who owns the file right now, None when nobody does. Changes nothing."""
    try:
        descriptor = os.open(lock_path(database), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def wait_for_orphan(database: Path, seconds: float) -> float:
    """Wait until a server whose supervisor was killed has let go of the file; return the seconds.

    The kernel ends it, but memory and connections of a large process take a while. Returns at once
    when nobody owns the file or its owner lives in good order; gives up after ``seconds``.
    """
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        owner = current_owner(database)
        if owner is None or not owner.is_orphaned:
            break
        time.sleep(_LOOK_SECONDS)
    return time.monotonic() - started


def _what_to_do(owner: int) -> str:
    """Return the way out; two workers of one server are no stranger to each other."""
    if owner != os.getpid() and _is_worker() and _parent_of(owner) == os.getppid():
        return (
            "It is another worker of the same server, and the service is one process, which serves many "
            "clients: start the server with one worker (uvicorn without --workers)."
        )
    return f"Send statements to that service, or stop it first (kill {owner})."


def _is_worker() -> bool:
    """Whether this process was forked or spawned by a program like itself, and not by a shell."""
    if multiprocessing.parent_process() is not None:
        return True
    try:
        own, parent = (Path(f"/proc/{pid}/cmdline").read_bytes() for pid in ("self", os.getppid()))
    except OSError:
        return False
    return own == parent


def _parent_of(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[1])


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is the one that has the name now."""
    try:
        there = path.stat()
    except OSError:
        return False
    ours = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _read(descriptor: int) -> Owner:
    try:
        facts = orjson.loads(os.pread(descriptor, 4096, 0))
        return Owner(int(facts["pid"]), facts.get("url"), facts.get("parent"))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return Owner(pid=0)


class DatabaseOwnership:
    """Holds the lock of one database file from ``acquire`` to ``release``."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock without waiting.

        Raises:
            DatabaseLockedError: another process (or another service in this one) holds it.
            DatabasePermissionError: the lock file cannot be written.
        """
        path = lock_path(self._database)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise DatabasePermissionError(
                f"{describe_path(path.parent)} is not writable: {reason_of(error)}",
                hint=directory_advice(path.parent, 0o750, setting="DUCKDB_DATABASE_PATH"),
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _read(descriptor)
            os.close(descriptor)
            where = f" and serves it at {owner.url}" if owner.url else ""
            raise DatabaseLockedError(
                f"{self._database} is in use: process {owner.pid} owns it{where}",
                hint=_what_to_do(owner.pid),
            ) from error
        if not _is_at(path, descriptor):  # its owner discarded it between the two calls
            os.close(descriptor)
            self.acquire()
            return
        self._descriptor = descriptor
        self.announce(None)

    @property
    def is_held(self) -> bool:
        """Whether this process owns the file."""
        return self._descriptor is not None

    def announce(self, url: str | None) -> None:
        """Write who we are, and where we serve, for others to read. Blocks.

        Raises:
            OSError: it cannot be written; the lock is held all the same.
        """
        if self._descriptor is not None:
            text = orjson.dumps(asdict(Owner(os.getpid(), url, os.getppid())))
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text, 0)

    def discard(self) -> None:
        """Remove the lock file with the database that it was for, and give the lock back."""
        if self._descriptor is not None:
            lock_path(self._database).unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Give the lock back; idempotent. The lock file stays: others look for the owner in it."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None
