"""Is the database on this disk the one that the replica holds? Asked before DuckDB opens it."""

from __future__ import annotations

import hashlib
from concurrent.futures import Executor
from pathlib import Path

from chronoduck.engine.disk_format import DatabaseFile, WalCursor, read_header
from chronoduck.engine.replacing import wal_path
from chronoduck.errors import DuckDBException
from chronoduck.replication.archive import Archive
from chronoduck.replication.block_table import BlockTable
from chronoduck.replication.failures import ReplicaDamagedError, ReplicaMismatchError
from chronoduck.replication.history import GenerationListing, Listing
from chronoduck.replication.local_state import LocalState
from chronoduck.replication.log_reader import LogReader
from chronoduck.replication.records import Base, Segment
from chronoduck.replication.restore_plan import time_text
from chronoduck.replication.shipper import Generation, Shipper
from chronoduck.storage import BlobNotFoundError

__all__ = ["check_local_state", "resume"]

_RESTORE = (
    "Run `chronoduck recover`: it sets the files aside and restores what the replica holds. "
    "To go on with the files as they are: `chronoduck replication adopt`."
)


def resume(
    shipper: Shipper,
    archive: Archive,
    database: Path,
    executor: Executor,
    *,
    replica_id: str = "",
    adopt: bool = False,
) -> Listing:
    """Compare the local files with the replica and have the shipper go on from there.

    ``adopt``: take the local files for right, whatever the replica holds; its points stay.
    ``replica_id``: refuse a file that was never seen with this replica. When the newest generation is
    damaged, the next one holds everything. Returns the replica's listing.

    Raises:
        ReplicaMismatchError: commits that the replica holds are not in the local files.
        StoreError: the replica cannot be asked.
    """
    listing = archive.listing()
    if not listing.generations:
        return listing
    newest = listing.generations[-1]
    try:
        base, table, last = _read_newest(archive, newest, executor)
    except (ReplicaDamagedError, BlobNotFoundError) as error:
        _begin_after_damage(shipper, database, newest.number, replica_id, adopt, error, archive.url)
        return listing
    table.forget_packs(pack for pack in table.blocks_by_pack() if pack not in listing.packs)
    point_us = last.time_us if last else base.time_us
    commits = base.commits + (last.commits if last else 0)
    shipper.follow(table, newest.number, point_us, commits)
    if not database.exists():
        if adopt:
            return listing
        raise ReplicaMismatchError(
            f"{database} is not there, but the replica in {archive.url} holds its "
            f"{commits:,} transactions up to {time_text(point_us)}",
            hint=_RESTORE,
        )
    with DatabaseFile(database) as file:
        headers = file.headers()
    if headers == base.headers:
        local = _compare_log(database, base, last)
        if local is not None:
            shipper.go_on(local, table, point_us)
            shipper.name_packs(newest.name, _next_pack(newest, listing.packs))
        elif not adopt:
            raise ReplicaMismatchError(_log_sentence(database, last, archive.url), hint=_RESTORE)
    elif not adopt:
        _check_lineage(database, headers, base, replica_id, (archive.url, time_text(point_us)))
    return listing


def _read_newest(
    archive: Archive, newest: GenerationListing, executor: Executor
) -> tuple[Base, BlockTable, Segment | None]:
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
    last_number: int,
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
        if not database.exists() or state is None or state.replica_id != replica_id:
            raise ReplicaDamagedError(damage.detail, hint=_RESTORE) from damage
        check_local_state(database, url, damage)
    point_us, commits = (state.time_us, state.commits) if state is not None else (0, 0)
    shipper.follow(BlockTable(), last_number, point_us, commits)


def _check_lineage(
    database: Path, headers: bytes, base: Base, replica_id: str, replica: tuple[str, str]
) -> None:
    """Refuse a file that the replica's newest state cannot have come before."""
    url, until = replica
    state = LocalState.read(database)
    if replica_id and (state is None or state.replica_id != replica_id):
        raise ReplicaMismatchError(
            f"{database} was never seen with the replica in {url}, which holds transactions of a "
            f"database up to {until}",
            hint=_RESTORE,
        )
    if state is not None and state.headers_sha256 == hashlib.sha256(headers).hexdigest():
        return  # it was restored from there, perhaps to an earlier point
    ours, theirs = read_header(headers).iteration, read_header(base.headers).iteration
    if ours <= theirs:
        raise ReplicaMismatchError(
            f"{database} is older than the replica in {url}: the file has seen {ours} checkpoints, "
            f"the replica {theirs}, and transactions up to {until}",
            hint=_RESTORE,
        )


def _compare_log(database: Path, base: Base, last: Segment | None) -> Generation | None:
    """Return where to go on in the local log; None when it is not what was shipped."""
    if last is None:
        return Generation(
            base.generation, base.headers, base.commits, WalCursor(), hashlib.sha256()
        )
    log = LogReader(wal_path(database))
    try:
        if not log.open() or log.size < last.end:
            return None
        digest = log.sha256(last.end)
    finally:
        log.close()
    if digest.hexdigest() != last.log_sha256:
        return None
    return Generation(
        base.generation, base.headers, base.commits, WalCursor(last.end, last.commits), digest
    )


def _log_sentence(database: Path, last: Segment | None, url: str) -> str:
    assert last is not None  # noqa: S101 - without a segment there is nothing to disagree about
    log = wal_path(database)
    size = log.stat().st_size if log.exists() else 0
    what = (
        f"has {size:,} bytes, of which the replica holds {last.end:,}"
        if size < last.end
        else "is not the one that was shipped: bytes of it have changed"
    )
    return (
        f"the log {log} {what}; opening it could silently drop some of its {last.commits:,} "
        f"transactions, which the replica in {url} holds up to {time_text(last.time_us)}"
    )


def _next_pack(generation: GenerationListing, packs: dict[str, int]) -> int:
    """Return a number that no pack of the generation has, counting those not written yet too."""
    prefix = f"packs/{generation.name}-"
    numbers = [int(name.removeprefix(prefix)) for name in packs if name.startswith(prefix)]
    return max(numbers, default=-1) + 1


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
    log = LogReader(wal_path(database))
    try:
        is_whole = log.open() and log.size >= state.log_bytes
        if is_whole and log.sha256(state.log_bytes).hexdigest() == state.log_sha256:
            return
    finally:
        log.close()
    raise ReplicaMismatchError(
        f"the log {wal_path(database)} is not the one that was shipped to {url} up to "
        f"{time_text(state.time_us)}; opening it could silently drop transactions",
        hint=_RESTORE,
    )
