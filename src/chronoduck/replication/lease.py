"""Who writes to a replica: one service at a time, told by a record in the store.

No clock of another machine is believed: a lease lives as long as it changes while one watches it.
"""

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
_WATCH_SECONDS = 1.0


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
    """By its holder's clock: for people, and to make each record another one."""
    is_released: bool = False


class Lease:
    """Held from ``acquire`` to ``release``; ``renew`` must be called every 10 s.

    The service holds the lock of its database file, so that a lease of the same file on the same
    machine is one that its predecessor left behind. Other holders are waited out. Two writers could
    do each other no harm but in what ``latest`` means: every blob's name has six random digits.
    """

    def __init__(
        self,
        store: BlobStore,
        database: Path,
        *,
        now_us: Callable[[], int] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        self._monotonic = monotonic
        self._watched: tuple[str, float] | None = None
        """The version of another holder's lease, and since when it has not changed."""
        self._written_us = 0
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
        """Take the lease, if it is free or has not changed for ``LEASE_SECONDS`` of watching.

        Raises:
            LeaseHeldError: another service holds it; call again to watch whether it lives.
            StoreError: the store failed.
        """
        version = self.look()
        self._watched = None
        self._write(version)
        self._is_held = True

    def look(self) -> str | None:
        """Return the version of the lease that may be taken now; nothing is written.

        Raises:
            LeaseHeldError: another service holds it; call again to watch whether it lives.
            StoreError: the store failed.
        """
        current, version = self._read()
        is_ours = current is None or current.is_released or current.holder == self._me.holder
        if not is_ours and version is not None:
            if self._watched is None or self._watched[0] != version:
                self._watched = version, self._monotonic()
            if self._monotonic() - self._watched[1] < LEASE_SECONDS:
                raise _held(current, self._store.url)
        return version

    def wait(self, sleep: Callable[[float], None] = time.sleep, *, only_look: bool = False) -> None:
        """Take the lease; wait for a holder that gives no sign of life, for no other.

        ``only_look``: wait in the same way, but leave the lease where it is.

        Raises:
            LeaseHeldError: another service holds it and gave a sign of life.
            StoreError: the store failed.
        """
        seen: str | None = None
        while True:
            try:
                if only_look:
                    self.look()
                else:
                    self.acquire()
            except LeaseHeldError:
                version = self._watched and self._watched[0]  # none: two took it at one moment
                if version is not None and seen not in (None, version):
                    raise
                seen = version
            else:
                return
            sleep(_WATCH_SECONDS)

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
        # Another one each time, also when the clock stands still or was set back.
        now_us = self._now_us()
        self._written_us = now_us if now_us != self._written_us else now_us + 1
        facts = {
            **asdict(self._me),
            "renewed_us": self._written_us,
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
        f"free {LEASE_SECONDS:.0f} s after its last sign of life.",
    )


def _machine_id() -> str:
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""
