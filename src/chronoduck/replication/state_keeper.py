"""Keeps the note beside the database in step with what was shipped and seen."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from pathlib import Path

from chronoduck.engine.disk_format import DatabaseFile, database_id, read_roots
from chronoduck.replication.archive import Archive
from chronoduck.replication.generation import Generation
from chronoduck.replication.local_state import LocalState, root_mark
from chronoduck.storage import StoreError

__all__ = ["ReplicaGoneError", "StateKeeper", "replica_gone"]


class ReplicaGoneError(StoreError):
    """Nothing is where a replica was: it may be a mount point without its disk."""


def replica_gone(url: str) -> ReplicaGoneError:
    """Return the error for a place where a replica was."""
    return ReplicaGoneError(
        f"the replica is not in {url} any more",
        hint="Mount it again; it then catches up. If it was removed on purpose, stop the service and "
        "run `chronoduck replication adopt`, which begins a new one.",
    )


class StateKeeper:
    """Writes the note when something in it has changed. A full disk is no failure: it lags then."""

    def __init__(self, database: Path, url: str) -> None:
        self._database = database
        self._url = url
        self._written: LocalState | None = None

    def begin(self, replica_id: str) -> None:
        """Note that the replica belongs to this file, before its first blob is written."""
        LocalState(replica_id, "", 0, "", 0, 0, self._url).write(self._database)

    def had_replica(self) -> bool:
        """Whether this database was shipped to the address before."""
        note = self._written or LocalState.read(self._database)
        return note is not None and note.knows_place(self._url)

    def find(self, archive: Archive) -> str | None:
        """Return the id of the replica that is in the store, None when none was there before, either.

        Raises:
            ReplicaGoneError: this database was shipped there before, and nothing is there now.
        """
        identity = archive.identity()
        if identity is None and self.had_replica():
            raise replica_gone(self._url)
        return identity

    def note_shipped(
        self, replica_id: str, generation: Generation, commits: int, time_us: int
    ) -> None:
        """Note the newest point in the replica."""
        before = self._written or LocalState.read(self._database)
        if before is None:
            before = LocalState(replica_id, "", 0, "", 0, 0)
        state = replace(
            before.moved_to(replica_id, self._url),
            headers_sha256=hashlib.sha256(generation.headers).hexdigest(),
            log_bytes=generation.cursor.offset,
            log_sha256=generation.digest.hexdigest(),
            commits=commits,
            time_us=time_us,
            generation=generation.name,
        )
        self._write(self._with_root(state))

    def note_seen(self) -> None:
        """Note which checkpoint the file is at although the store fails: the next start knows it."""
        before = self._written or LocalState.read(self._database)
        if before is not None and before.knows_place(self._url):
            self._write(self._with_root(before))

    def _with_root(self, state: LocalState) -> LocalState:
        try:
            with DatabaseFile(self._database) as file:
                headers = file.headers()
                mark = root_mark(file, read_roots(headers)[0])
        except OSError:
            return state
        return replace(state, database_id=database_id(headers), root_mark=mark)

    def _write(self, state: LocalState) -> None:
        if state != self._written:
            with contextlib.suppress(OSError):
                state.write(self._database)
                self._written = state
