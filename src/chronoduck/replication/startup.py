"""Is the database on this disk the one that the replica holds? Asked before DuckDB opens it."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from chronoduck.engine.disk_format import (
    DatabaseFile,
    WalCursor,
    database_id,
    read_header,
    read_wal,
)
from chronoduck.engine.offline import database_files, replayed_wal, side_files
from chronoduck.engine.replacing import wal_path
from chronoduck.engine.version_note import is_of_another_engine
from chronoduck.errors import DuckDBException
from chronoduck.replication.archive import Archive
from chronoduck.replication.block_table import BlockTable
from chronoduck.replication.failures import ReplicaDamagedError, ReplicaMismatchError
from chronoduck.replication.generation import Generation
from chronoduck.replication.history import GenerationListing, Listing
from chronoduck.replication.lineage import Relation, ReplicaSide, is_state_of, relate
from chronoduck.replication.local_state import LocalState
from chronoduck.replication.log_reader import LogReader, ReplayedLog
from chronoduck.replication.records import Base, Segment, generation_number
from chronoduck.replication.removals import NumberRanges, Removals
from chronoduck.replication.restore_plan import time_text
from chronoduck.replication.shipper import Shipper
from chronoduck.storage import BlobNotFoundError
from chronoduck.units import format_count

__all__ = [
    "Comparison",
    "both_sides",
    "check_local_state",
    "mismatch",
    "note_losses",
    "read_newest",
    "resume",
]

_PACK_NUMBERS = 1_000_000

_RECOVER = (
    "Run `chronoduck recover`: it sets the files aside and restores what the replica holds, with the "
    "transactions that only the local WAL holds. To continue without what the files lack: `chronoduck "
    "replication adopt`; the replica's points stay."
)
_UNDECIDED = (
    "Look at both: `chronoduck restore --output OTHER.db` writes the replica's state into another file. "
    "To continue with the local file, run `chronoduck replication adopt`; the replica's points stay. If "
    "it is the replica of another database, set another DUCKDB_REPLICA_URL."
)


@dataclass(frozen=True)
class Comparison:
    """What a comparison of files and replica came to, when they may be used together."""

    listing: Listing
    notice: str = ""
    """What an operator should hear of it; empty when they agree."""


def resume(
    shipper: Shipper,
    archive: Archive,
    database: Path,
    executor: Executor,
    *,
    replica_id: str = "",
    adopt: bool = False,
    is_thorough: bool = False,
) -> Comparison:
    """Compare the local files with the replica and have the shipper continue from there.

    ``adopt``: take the local files for right, whatever the replica holds; its points stay.
    ``replica_id``: refuse a file that was never seen with this replica. Where the file is newer, or
    the newest generation is damaged, or packs are missing, a new generation is begun. ``is_thorough``:
    read the packs, too, instead of only looking whether they are there. Another version of DuckDB
    begins a generation, too: each is written by one engine.

    Raises:
        ReplicaMismatchError: commits that the replica holds are not, or may not be, in the files.
        StoreError: the replica cannot be asked.
    """
    listing = archive.listing()
    note = LocalState.read(database)
    _remember(shipper, listing, note if note and note.replica_id == replica_id else None)
    if not listing.generations:
        return Comparison(listing)
    newest = listing.generations[-1]
    try:
        base, table, last = read_newest(archive, newest, executor)
    except (ReplicaDamagedError, BlobNotFoundError) as error:
        _begin_after_damage(shipper, database, newest.name, replica_id, adopt, error, archive.url)
        return Comparison(listing, f"{error.detail}; a new generation holds everything again")
    lost = _lost_packs(archive, list(table.blocks_by_pack()), listing, executor, is_thorough)
    table.forget_packs(lost)
    point_us = last.time_us if last else base.time_us
    commits = base.commits + (last.commits if last else 0)
    shipper.follow(table, newest.name, point_us, commits)
    if not database.exists():
        if adopt:
            return Comparison(listing)
        raise ReplicaMismatchError(
            f"{database} is not there, but the replica in {archive.url} holds its "
            f"{format_count(commits, 'transaction')} up to {time_text(point_us)}",
            hint=_RECOVER,
        )
    side = ReplicaSide(replica_id, newest.name, base.headers, table)
    with DatabaseFile(database) as file:
        if file.headers() != base.headers or not (lost or is_state_of(file, side, note)):
            relation = relate(file, side, note)
            if relation is not Relation.DESCENDANT and not adopt:
                raise mismatch(relation, both_sides(file, base, commits, point_us, archive.url))
            return Comparison(listing, _lost_notice(shipper, newest, archive.url))
    local = _compare_log(database, base, last)
    if local is None and not adopt:
        assert last is not None  # noqa: S101 - without a segment there is nothing to disagree about
        pieces = archive.read_segments(newest.chain(), executor)
        shipped = b"".join(content for _, content in pieces)
        raise _wal_mismatch(database, last, shipped, archive.url)
    if lost:
        return Comparison(
            listing,
            f"{format_count(len(lost), 'pack')} in {archive.url} missing or damaged: {lost[0]}"
            f"{' and others' if len(lost) > 1 else ''}; a new "
            "generation holds their blocks again",
        )
    if local is not None and (last is not None or not is_of_another_engine(database)):
        shipper.go_on(local, table, point_us)
        shipper.name_packs(newest.name, _next_pack(newest, listing.packs))
    return Comparison(listing)


def _remember(shipper: Shipper, listing: Listing, note: LocalState | None) -> None:
    """Have the next generation come after everything that was shipped, be it lost or not."""
    if note is not None:
        shipper.remember(note.generation, note.time_us, note.commits)
    for each in listing.headless():
        shipper.remember(each.name, 0, 0)


def _lost_packs(
    archive: Archive, packs: list[str], listing: Listing, executor: Executor, is_thorough: bool
) -> list[str]:
    if not is_thorough:
        return sorted(archive.unlisted(packs, listing))
    failures = executor.map(archive.check_blob, packs)
    return [pack for pack, failure in zip(packs, failures, strict=True) if failure]


def note_losses(archive: Archive) -> None:
    """Record that an operator has taken note of the generations that are lost."""
    listing = archive.listing()
    lost = [each.number for each in listing.headless()]
    for generation in listing.generations:
        with contextlib.suppress(ReplicaDamagedError, BlobNotFoundError):
            base = archive.read_base(generation.name)
            missing = archive.missing_before(listing, generation.name, base.previous)
            if missing:
                lost.append(generation_number(missing))
    if lost:
        archive.note_removals(Removals(lost=NumberRanges.of(lost)))


def _lost_notice(shipper: Shipper, newest: GenerationListing, url: str) -> str:
    """Say that the store went back in time, when this machine has shipped more than it holds."""
    if shipper.previous == newest.name:
        return ""
    return (
        f"{url} has lost what was shipped after generation {newest.name}: the points in time between "
        "are gone; a new generation holds everything again"
    )


def both_sides(file: DatabaseFile, base: Base, commits: int, point_us: int, url: str) -> str:
    """Return what the file and the replica hold, as far as their headers and WAL tell."""
    headers = file.headers()
    ours, theirs = read_header(headers).iteration, read_header(base.headers).iteration
    waiting = read_wal(replayed_wal(file.path), WalCursor()).commits
    changed_us = max(path.stat().st_mtime_ns for path in database_files(file.path)) // 1000
    return (
        f"{file.path} ({_identity(headers)}{format_count(ours, 'checkpoint')}, "
        f"{format_count(waiting, 'transaction')} in its WAL, written last at {time_text(changed_us)}) "
        f"and the replica in {url} ({_identity(base.headers)}{format_count(theirs, 'checkpoint')}, "
        f"{format_count(commits, 'transaction')} up to {time_text(point_us)})"
    )


def _identity(headers: bytes) -> str:
    identifier = database_id(headers)
    return f"database {identifier[:8]}, " if identifier else ""


def mismatch(relation: Relation, facts: str) -> ReplicaMismatchError:
    """Return the error for a file that is not what the replica knows."""
    if relation is Relation.FOREIGN:
        return ReplicaMismatchError(
            f"{facts} are not the same database, or this file was never seen with the replica",
            hint=_UNDECIDED,
        )
    if relation is Relation.OLDER:
        return ReplicaMismatchError(
            f"the file is older than the replica: {facts}. The replica is newer: it holds transactions "
            "that the file lacks",
            hint=_RECOVER,
        )
    return ReplicaMismatchError(
        f"{facts} do not agree: each may hold transactions that the other lacks", hint=_UNDECIDED
    )


def read_newest(
    archive: Archive, newest: GenerationListing, executor: Executor
) -> tuple[Base, BlockTable, Segment | None]:
    """Return a generation's base, its blocks at its newest point, and the segment that this point is.

    Raises:
        ReplicaDamagedError: something of it is missing or damaged.
    """
    base = archive.read_base(newest.name)
    table, last = base.blocks, None
    for segment, _ in archive.read_segments(newest.chain(), executor):
        table.apply(segment.changes)
        last = segment
    beyond = newest.after_gap()
    if beyond is not None:
        raise ReplicaDamagedError(f"a segment before {beyond.blob} in {archive.url} is missing")
    return base, table, last


def _begin_after_damage(
    shipper: Shipper,
    database: Path,
    newest: str,
    replica_id: str,
    adopt: bool,
    damage: DuckDBException,
    url: str,
) -> None:
    """Ship everything anew when the replica cannot tell what it holds, but the local files can.

    Raises:
        ReplicaDamagedError: they cannot either: they were never seen with this replica.
        ReplicaMismatchError: they lack what this machine noted as shipped.
    """
    state = LocalState.read(database)
    if not adopt:
        if not database.exists():
            raise ReplicaDamagedError(damage.detail, hint=_RECOVER) from damage
        if state is None or state.replica_id != replica_id:
            raise ReplicaDamagedError(damage.detail, hint=_UNDECIDED) from damage
        check_local_state(database, url, damage)
    point_us, commits = (state.time_us, state.commits) if state is not None else (0, 0)
    shipper.follow(BlockTable(), newest, point_us, commits)


def _compare_log(database: Path, base: Base, last: Segment | None) -> Generation | None:
    """Return where to go on in the local log; None when it is not what was shipped."""
    if last is None:
        return Generation(
            base.generation, base.headers, base.commits, WalCursor(), hashlib.sha256()
        )
    digest = _shipped_log(database, last.end, last.log_sha256)
    if digest is None:
        return None
    return Generation(
        base.generation, base.headers, base.commits, WalCursor(last.end, last.commits), digest
    )


def _shipped_log(database: Path, size: int, sha256: str) -> hashlib._Hash | None:
    """Return the hash of what was shipped of the local log, None when it does not begin with that.

    A death within a checkpoint leaves two WALs, and both are shipped, as the one that DuckDB replays.
    """
    first = LogReader(wal_path(database)).matches(size, sha256)
    return first or ReplayedLog(database).matches(size, sha256)


def _wal_mismatch(database: Path, last: Segment, shipped: bytes, url: str) -> ReplicaMismatchError:
    log = wal_path(database)
    whole = replayed_wal(database)
    ours = read_wal(whole, WalCursor()).commits
    size = max(log.stat().st_size, len(whole)) if log.exists() else 0
    if not log.exists():
        what = "is missing"
    elif size < last.end:
        what = f"ends after {size:,} bytes, and its first {last.end:,} bytes were shipped"
    else:
        what = "is not the one that was shipped: bytes of it have changed"
    # Whole transactions that were not shipped are another history, as that of a cloned machine; what
    # lies behind the shipped bytes may be transactions that only this side has.
    has_more = size > last.end and not side_files(database)[1].exists()
    is_newer = ours < last.commits and not has_more and shipped.startswith(whole)
    newer = (
        f"The replica is newer: it holds {format_count(last.commits - ours, 'transaction')} that the "
        "file lacks"
        if is_newer
        else "Each side may hold transactions that the other lacks"
    )
    return ReplicaMismatchError(
        f"the WAL {log} {what}. A start could silently drop some of its "
        f"{format_count(last.commits, 'transaction')}, which the replica in {url} holds up to "
        f"{time_text(last.time_us)}. {newer}",
        hint=_RECOVER if is_newer else _UNDECIDED,
    )


def _next_pack(generation: GenerationListing, packs: dict[str, int]) -> int:
    """Return a number that no pack of the generation has, whether it is listed or not.

    A listing may lag behind, and a pack must never be written again with other blocks: that is left
    to chance, as with names of generations.
    """
    prefix = f"packs/{generation.name}-"
    numbers = [int(name.removeprefix(prefix)) for name in packs if name.startswith(prefix)]
    return max(numbers, default=-1) + 1 + secrets.randbelow(_PACK_NUMBERS)


def check_local_state(database: Path, url: str, reason: Exception) -> None:
    """Compare the local files with what was noted of the replica, when that cannot be asked.

    Raises:
        ReplicaMismatchError: they lack transactions that were shipped; or there is no database, and
            nobody can tell whether the replica holds one.
    """
    if not database.exists():
        raise ReplicaMismatchError(
            f"{database} is not there, and the replica in {url} cannot be asked whether it holds "
            f"it: {reason}",
            hint="Mend the store first; or unset DUCKDB_REPLICA_URL to begin with a new database.",
        )
    state = LocalState.read(database)
    if state is None or state.log_bytes == 0:
        return
    with DatabaseFile(database) as file:
        headers = file.headers()
    if hashlib.sha256(headers).hexdigest() != state.headers_sha256:
        return
    if _shipped_log(database, state.log_bytes, state.log_sha256) is not None:
        return
    raise ReplicaMismatchError(
        f"the WAL {wal_path(database)} is not the one that was shipped to {url} up to "
        f"{time_text(state.time_us)}; opening it could silently drop transactions",
        hint=_RECOVER,
    )
