"""What the replica holds of the files on this disk: asked before anything of them is left out."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

from chronoduck.engine.disk_format import DatabaseFile
from chronoduck.engine.offline import HeldWal
from chronoduck.errors import DatabaseFormatError
from chronoduck.replication.archive import Archive
from chronoduck.replication.failures import ReplicaDamagedError
from chronoduck.replication.lineage import Relation, ReplicaSide, relate
from chronoduck.replication.local_state import LocalState
from chronoduck.replication.opening import open_archive
from chronoduck.replication.startup import both_sides, mismatch, read_newest
from chronoduck.settings import Settings
from chronoduck.storage import BlobNotFoundError, StoreError

__all__ = ["find_held_wal"]

_CALL_SECONDS = 4.0
"""How long a start waits for each answer of the store."""
_THREADS = 4


def find_held_wal(settings: Settings) -> HeldWal | None:
    """Return which beginning of the local WAL the replica holds, None when it holds nothing of it.

    A replica that cannot be asked is taken for what the note beside the database says of it, and so is
    one that cannot be compared with the file, of which a crash in a checkpoint has torn a root header.

    Raises:
        ReplicaMismatchError: the file is older than the replica, or another database.
    """
    if settings.replica.url is None or not settings.database_path.exists():
        return None
    try:
        return _ask(open_archive(settings, seconds=_CALL_SECONDS), settings)
    except (StoreError, BlobNotFoundError, ReplicaDamagedError, DatabaseFormatError):
        return _noted(settings)


def _ask(archive: Archive, settings: Settings) -> HeldWal | None:
    listing = archive.listing()
    if not listing.generations:
        return _noted(settings)  # a volume that is not mounted looks like an empty replica
    newest = listing.generations[-1]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="shipped") as executor:
        base, table, last = read_newest(archive, newest, executor)
    with DatabaseFile(settings.database_path) as file:
        if file.headers() != base.headers:
            side = ReplicaSide(archive.identity() or "", newest.name, base.headers, table)
            relation = relate(file, side, LocalState.read(settings.database_path))
            if relation is not Relation.DESCENDANT:
                point = last or base
                commits = base.commits + (last.commits if last else 0)
                raise mismatch(
                    relation, both_sides(file, base, commits, point.time_us, archive.url)
                )
            return None  # the WAL follows a checkpoint that the replica has not seen yet
    if last is None:
        return None
    return HeldWal(last.end, last.log_sha256, archive.url, last.commits)


def _noted(settings: Settings) -> HeldWal | None:
    note = LocalState.read(settings.database_path)
    if note is None or not note.log_bytes:
        return None
    with DatabaseFile(settings.database_path) as file:
        if hashlib.sha256(file.headers()).hexdigest() != note.headers_sha256:
            return None
    return HeldWal(note.log_bytes, note.log_sha256, note.url or str(settings.replica.url))
