"""What a start would say of the files and their replica: asked without writing or shipping anything."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from chronoduck.errors import DuckDBException
from chronoduck.replication.archive import Archive
from chronoduck.replication.envelope import Envelope
from chronoduck.replication.lease import Lease
from chronoduck.replication.shipper import Shipper
from chronoduck.replication.startup import check_local_state, resume
from chronoduck.replication.state_keeper import StateKeeper
from chronoduck.settings import Settings
from chronoduck.storage import StoreError, TimedBlobStore, open_store

__all__ = ["START_CALL_SECONDS", "START_SECONDS", "Foreseen", "compare_without_writing"]

START_CALL_SECONDS = 4.0
START_SECONDS = 8.0
"""How long a start waits for the store: for one answer, and altogether."""
_THREADS = 6


@dataclass(frozen=True)
class Foreseen:
    """What a start that is not refused would say."""

    notice: str = ""
    """What the store has lost; empty when it agrees with the files."""
    failure: DuckDBException | None = None
    """Why the store cannot be compared with: the service starts, and tries again."""


def compare_without_writing(settings: Settings) -> Foreseen:
    """Take the decisions of ``Replicator.prepare`` by the same functions.

    Raises:
        LeaseHeldError: another service writes to the replica.
        ReplicaMismatchError: the local files lack commits that the replica holds.
        DuckDBException: the replica is damaged, and nobody can tell what it held.
    """
    replica, database = settings.replica, settings.database_path
    assert replica.url is not None  # noqa: S101 - there is nothing to compare with otherwise
    key = replica.encryption_key
    timed = TimedBlobStore(open_store(replica.url, settings), replica.timeout)
    envelope = Envelope(key.get_secret_value() if key else None, level=replica.compression_level)
    archive = Archive(timed, envelope)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="store") as executor:
        shipper = Shipper(database, archive, executor, now_us=lambda: 0)
        try:
            with timed.limited(START_CALL_SECONDS):
                identity = StateKeeper(database, archive.url).find(archive)
                Lease(timed, database).wait(only_look=True)
            with timed.limited(START_CALL_SECONDS, START_SECONDS):
                found = resume(shipper, archive, database, executor, replica_id=identity or "")
        except StoreError as error:
            check_local_state(database, archive.url, error)
            return Foreseen(failure=error)
        finally:
            shipper.close()
    return Foreseen(found.notice)
