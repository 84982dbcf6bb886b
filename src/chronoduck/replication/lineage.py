"""Which is newer, the database on this disk or the replica? Decided from what both say of themselves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from chronoduck.engine.disk_format import (
    DatabaseFile,
    database_id,
    read_header,
    read_roots,
    root_block,
)
from chronoduck.replication.block_table import BlockTable
from chronoduck.replication.local_state import KnownReplica, LocalState, root_mark
from chronoduck.replication.records import generation_number

__all__ = ["Relation", "ReplicaSide", "is_state_of", "relate"]


class Relation(StrEnum):
    """What the database file is to the replica's newest state; their headers differ."""

    DESCENDANT = "descendant"
    """The file continues what the replica holds, or what was restored from it on purpose."""
    OLDER = "older"
    """The replica continues what the file holds."""
    FOREIGN = "foreign"
    """They are two databases."""
    UNKNOWN = "unknown"
    """One database, but either may hold transactions that the other lacks."""


@dataclass(frozen=True)
class ReplicaSide:
    """The replica's newest state."""

    replica_id: str
    """Empty: not asked for."""
    generation: str
    headers: bytes
    blocks: BlockTable = field(repr=False)

    def has_root_of(self, file: DatabaseFile) -> bool:
        """Whether the catalog's first block is the same in the file as in this state."""
        block = root_block(read_roots(self.headers)[0])
        return block is None or self.blocks.holds(block, file.checksum(block))

    def shares_blocks(self, file: DatabaseFile) -> bool:
        """Whether any block of the file is here at the same place."""
        checksums = enumerate(file.checksums(min(file.block_count, len(self.blocks))))
        return any(self.blocks.holds(block, stored) for block, stored in checksums)


def is_state_of(file: DatabaseFile, replica: ReplicaSide, note: LocalState | None) -> bool:
    """Whether a file with the replica's newest headers is that state, and no other file's of the kind.

    A checkpoint that was killed before its header may have written into the catalog's first block,
    beside the catalog: then the piece that this machine noted of it decides.
    """
    if replica.has_root_of(file):
        return True
    headers = file.headers()
    return (
        note is not None
        and note.replica_id == replica.replica_id
        and bool(note.root_mark)
        and note.headers_sha256 == hashlib.sha256(headers).hexdigest()
        and note.root_mark == root_mark(file, read_roots(headers)[0])
    )


def relate(file: DatabaseFile, replica: ReplicaSide, note: LocalState | None) -> Relation:
    """Return what a file is to the replica whose newest headers it does not have.

    The evidence, strongest first: DuckDB's identifier, which a file keeps for life; what this machine
    noted of the file; the root of the checkpoint before, which a file carries for one more checkpoint;
    the number of checkpoints, when the note shows that no other machine wrote the replica since. A file
    without an identifier must have some block in common with the replica.
    """
    headers = file.headers()
    known = _known(note, replica.replica_id)
    if note is not None and note.replica_id == replica.replica_id and _is_restored(file, note):
        return Relation.DESCENDANT
    ours, theirs = database_id(headers), database_id(replica.headers)
    if ours != theirs:
        is_our_copy = known is not None and note is not None and ours == note.database_id
        return Relation.FOREIGN if not is_our_copy else _by_note(known, replica, 0)
    if read_roots(headers)[1] == read_roots(replica.headers)[0] and replica.has_root_of(file):
        return Relation.DESCENDANT
    # A small file has few blocks, and each may be new: then only the note decides.
    is_noted = known is not None and note is not None and _is_noted(file, note)
    if not ours and not is_noted and not replica.shares_blocks(file):
        return Relation.FOREIGN if replica.replica_id else Relation.UNKNOWN
    if read_header(headers).iteration <= read_header(replica.headers).iteration:
        return Relation.OLDER
    return _by_note(known, replica, 1) if replica.replica_id else Relation.DESCENDANT


def _known(note: LocalState | None, replica_id: str) -> KnownReplica | None:
    """Return what was noted of this replica."""
    if note is None:
        return None
    if note.replica_id == replica_id:
        return KnownReplica(note.url, note.commits, note.time_us, note.generation)
    return note.others.get(replica_id)


def _is_restored(file: DatabaseFile, note: LocalState) -> bool:
    """Whether the file was restored or compacted here, and not continued elsewhere since."""
    return not note.log_sha256 and _is_noted(file, note)


def _is_noted(file: DatabaseFile, note: LocalState) -> bool:
    """Whether the file is the one that this machine saw last, or one checkpoint further."""
    headers = file.headers()
    if database_id(headers) != note.database_id and note.root_mark:
        return False
    if hashlib.sha256(headers).hexdigest() == note.headers_sha256:
        return True
    return bool(note.root_mark) and any(
        root_mark(file, root) == note.root_mark for root in read_roots(headers)
    )


def _by_note(known: KnownReplica | None, replica: ReplicaSide, most_lag: int) -> Relation:
    """Trust the file only when this machine shipped the replica's newest state, or nearly so.

    A note may lag by one generation: it is written after the generation.
    """
    if known is None:
        return Relation.UNKNOWN
    if known.commits and not known.generation:  # the first chronoduck noted no generation
        return Relation.DESCENDANT
    noted = generation_number(known.generation) if known.generation else 0
    lag = generation_number(replica.generation) - noted
    return Relation.DESCENDANT if lag <= most_lag else Relation.UNKNOWN
