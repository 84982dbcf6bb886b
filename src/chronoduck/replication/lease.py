"""Who writes to a replica: one service at a time, told by a record in the store."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from chronoduck.replication.failures import LeaseHeldError
from chronoduck.replication.records import LEASE_NAME
from chronoduck.replication.restore_plan import time_text
from chronoduck.storage import BlobConflictError, BlobStore, StoreError

__all__ = ["Lease", "LeaseRecord"]

LEASE_SECONDS = 30.0
"""Without a sign of life for so long, a lease is free."""


@dataclass(frozen=True)
class LeaseRecord:
    """What the store says about who writes."""

    holder: str
    """Same for every process that serves this database file on this machine."""
    session: str
    """Of one process."""
    host: str
    pid: int
    database: str
    renewed_us: int
    is_released: bool = False

    def is_free(self, now_us: int) -> bool:
        """Whether it was given back, or its holder has not been heard of for long."""
        age = abs(now_us - self.renewed_us) / 1e6  # a time far ahead is a clock that was wrong
        return self.is_released or age > LEASE_SECONDS


class Lease:
    """Held from ``acquire`` to ``release``; ``renew`` must be called every 10 s.

    The service holds the lock of its database file, so that a lease of the same file on the same
    machine is one that its predecessor left behind. Other holders are waited out. Two writers could
    do each other no harm but in what ``latest`` means: every blob's name has six random digits.
    """

    def __init__(
        self, store: BlobStore, database: Path, *, now_us: Callable[[], int] | None = None
    ) -> None:
        self._store = store
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        host = socket.gethostname()
        self._me = LeaseRecord(
            holder=hashlib.sha256(f"{_machine_id()} {host} {database}".encode()).hexdigest()[:16],
            session=secrets.token_hex(8),
            host=host,
            pid=os.getpid(),
            database=str(database),
            renewed_us=0,
        )
        self._is_held = False

    def acquire(self) -> None:
        """Take the lease.

        Raises:
            LeaseHeldError: another service holds it, and was heard of a moment ago.
            StoreError: the store failed.
        """
        current, version = self._read()
        if (
            current is not None
            and current.holder != self._me.holder
            and not current.is_free(self._now_us())
        ):
            raise _held(current, self._store.url)
        self._write(version)
        self._is_held = True

    def renew(self) -> None:
        """Give a sign of life.

        Raises:
            LeaseHeldError: somebody took the lease; nothing more may be shipped.
            StoreError: the store failed, or the replica is not there any more; try again.
        """
        current, version = self._read()
        if version is None:
            raise StoreError(f"the lease in {self._store.url} is gone")
        if current is not None and current.session != self._me.session:
            self._is_held = False
            raise _held(current, self._store.url)
        self._write(version)

    def release(self) -> None:
        """Give the lease back, if it is held."""
        if not self._is_held:
            return
        current, version = self._read()
        self._is_held = False
        if current is not None and current.session == self._me.session:
            self._write(version, is_released=True)

    def _read(self) -> tuple[LeaseRecord | None, str | None]:
        blob = self._store.get_versioned(LEASE_NAME)
        if blob is None:
            return None, None
        try:
            return LeaseRecord(**orjson.loads(blob.data)), blob.version
        except (orjson.JSONDecodeError, TypeError):
            return None, blob.version  # damaged: nobody's

    def _write(self, version: str | None, *, is_released: bool = False) -> None:
        facts = {
            **asdict(self._me),
            "renewed_us": self._now_us(),
            "is_released": is_released,
        }
        try:
            self._store.replace(LEASE_NAME, orjson.dumps(facts), version)
        except BlobConflictError:
            current, _ = self._read()
            if current is None or current.session != self._me.session:
                raise _held(current, self._store.url) from None


def _held(record: LeaseRecord | None, url: str) -> LeaseHeldError:
    if record is None:
        return LeaseHeldError(f"another service takes the replica in {url} at this moment")
    return LeaseHeldError(
        f"the replica in {url} is written by another service: process {record.pid} on "
        f"{record.host}, for {record.database}, last seen {time_text(record.renewed_us)}",
        hint="Give each service its own DUCKDB_REPLICA_URL. If that service is dead, the replica is "
        f"free {LEASE_SECONDS:.0f} s after it was last seen.",
    )


def _machine_id() -> str:
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""
