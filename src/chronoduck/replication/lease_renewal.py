"""The thread that renews the lease, however long a step of the replicator takes."""

from __future__ import annotations

import threading
from collections.abc import Callable

from chronoduck.replication.archive import Archive
from chronoduck.replication.failures import LeaseHeldError, ReplicaDamagedError
from chronoduck.replication.lease import Lease
from chronoduck.storage import StoreError

__all__ = ["LeaseRenewal"]

_RENEW_SECONDS = 10.0


class LeaseRenewal:
    """Starts with ``start``. The replicator's thread reads what it found."""

    def __init__(self, lease: Lease, archive: Archive, replica_id: Callable[[], str]) -> None:
        """``replica_id`` returns the identifier that the replica must have; empty: do nothing yet."""
        self._lease = lease
        self._archive = archive
        self._replica_id = replica_id
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._is_lost = False
        self.is_gone = False
        """Whether the replica was not in its place at the last renewal."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the renewal in progress; does not wait for it."""
        self._stopping.set()

    def take_loss(self) -> bool:
        """Return whether another service took the lease since the last call."""
        if not self._is_lost:
            return False
        self._is_lost = False
        return True

    def _run(self) -> None:
        while not self._stopping.wait(_RENEW_SECONDS):
            if not (replica_id := self._replica_id()):
                continue
            try:
                self.is_gone = self._archive.identity() != replica_id
                self._lease.renew()
            except LeaseHeldError:
                self._is_lost = True
            except (StoreError, ReplicaDamagedError):
                continue  # the next step reports it; the lease lasts some more seconds
