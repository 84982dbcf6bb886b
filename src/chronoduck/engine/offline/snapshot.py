"""A copy of a database as of one moment, while transactions continue or after the service was killed.

Between two checkpoints DuckDB writes no block that the last checkpoint's state or a committed
transaction of the WAL refers to. So: first the WAL up to its last commit, then the file, then the
headers once more; if they are the same as before, WAL and file belong together. Run it in a process
that does not serve the file: closing any descriptor of it there would drop the engine's own lock.

This is the one way to copy a database for a backup, a verification or a compaction.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from chronoduck.engine.disk_format import (
    BLOCK_BYTES,
    HEADER_BYTES,
    find_damage,
    free_blocks,
    read_header,
)
from chronoduck.engine.offline.files import copy_bytes, remove_database, side_files
from chronoduck.engine.offline.replayed_wal import join_wal
from chronoduck.errors import (
    DamagedLogError,
    DatabaseFormatError,
    DiskFullError,
    DuckDBConnectionError,
)
from chronoduck.units import format_bytes, format_count

__all__ = ["SnapshotError", "copy_database"]

Progress = Callable[[int, int], None]
_PIECE_BYTES = 64 * 2**20
_ATTEMPTS = 5
_READS = 20
_RETRY_SECONDS = 0.05
_SPACE_FACTOR = 1.5
"""What is made of the copy needs space, too."""


class SnapshotError(DuckDBConnectionError):
    """Checkpoints followed each other too fast for a copy."""

    code = "snapshot_failed"
    title = "The database could not be copied"
    exit_code = 75


def copy_database(
    source: Path,
    target: Path,
    on_progress: Progress = lambda done, total: None,
    *,
    skips_free: bool = False,
) -> None:
    """Copy the file and the committed transactions that it does not hold yet; bytes are the progress.

    The copy has at most one file beside it, ``.wal``: of a checkpoint that was interrupted it holds
    what DuckDB would replay, and nothing that the file holds already. With ``skips_free`` blocks that
    hold nothing become holes, if the WAL is empty: a transaction in it may refer to such a block.

    Raises:
        SnapshotError: checkpoints followed each other too fast.
        DamagedLogError: the WAL is damaged: transactions behind the damage would be missing.
        DiskFullError: there is no space for the copy.
    """
    for _ in range(_ATTEMPTS):
        remove_database(target)
        if _copy_once(source, target, on_progress, skips_free=skips_free):
            return
    raise SnapshotError(
        f"{source} was checkpointed {_ATTEMPTS} times while it was copied",
        hint="Let the service run its own backups: it puts checkpoints off while one is copied.",
    )


def _copy_once(source: Path, target: Path, on_progress: Progress, *, skips_free: bool) -> bool:
    with source.open("rb", buffering=0) as file:
        headers = os.pread(file.fileno(), HEADER_BYTES, 0)
        log = _committed_log(source, headers)
        if log is None:
            return False
        size = os.fstat(file.fileno()).st_size
        free = _free_blocks(headers, file.fileno()) if skips_free and not log else frozenset()
        _check_space(target.parent, sum(b - a for a, b in _used_ranges(size, free)) + len(log))
        with target.open("xb", buffering=0) as copy:
            for start, end in _used_ranges(size, free):
                _copy_file(file.fileno(), copy.fileno(), (start, end, size), on_progress)
            os.ftruncate(copy.fileno(), os.fstat(file.fileno()).st_size)
        is_consistent = os.pread(file.fileno(), HEADER_BYTES, 0) == headers
    if is_consistent and log:
        side_files(target)[0].write_bytes(log)
    return is_consistent


def _committed_log(source: Path, headers: bytes) -> bytes | None:
    """Return what DuckDB would replay, None when a checkpoint ends in this very moment."""
    for attempt in range(_READS):
        main, later, is_settled = _read_logs(source)
        if not is_settled:
            time.sleep(_RETRY_SECONDS)
            continue
        damage = find_damage(main) or (find_damage(later) if later else None)
        if damage is None:
            return join_wal(main, later, _root(headers))
        if attempt < 2:  # it may have been read while it was written
            time.sleep(_RETRY_SECONDS)
            continue
        raise DamagedLogError(
            f"the WAL of {source} is damaged at byte {damage.offset:,}: a copy would lack at least "
            f"{format_count(damage.lost_commits, 'transaction')} behind it",
            hint="Run CHECKPOINT: it writes what the service holds into the file, and begins a WAL.",
        )
    return None


def _read_logs(source: Path) -> tuple[bytes, bytes | None, bool]:
    """Return both WALs, and whether they are of one moment.

    A checkpoint that ends renames the second over the first. Between two reads that would hide
    transactions from both.
    """
    wal, checkpoint, _ = side_files(source)
    try:
        with wal.open("rb") as file:
            main = file.read()
            try:
                later = checkpoint.read_bytes()
            except FileNotFoundError:
                later = None
            is_settled = wal.exists() and os.path.samestat(wal.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return b"", None, not wal.exists()
    return main, later, is_settled


def _root(headers: bytes) -> int | None:
    try:
        return read_header(headers).meta_block
    except DatabaseFormatError:
        return None  # damaged: opening the copy fails


def _check_space(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed * _SPACE_FACTOR:
        raise DiskFullError(
            f"the volume of {directory} has {format_bytes(free)} free; the copy of this database and "
            f"what is made of it need {format_bytes(int(needed * _SPACE_FACTOR))}",
            hint="Free space there, lower DUCKDB_BACKUP_KEEP_DAYS, or move DUCKDB_BACKUP_DIR.",
        )


def _free_blocks(headers: bytes, descriptor: int) -> frozenset[int]:
    try:
        header = read_header(headers)
    except DatabaseFormatError:
        return frozenset()  # damaged: opening the copy fails
    return free_blocks(header, lambda offset, count: os.pread(descriptor, count, offset))


def _used_ranges(size: int, free: frozenset[int]) -> Iterator[tuple[int, int]]:
    """Yield where bytes to copy begin and end."""
    start = 0
    for number in sorted(free):
        place = HEADER_BYTES + number * BLOCK_BYTES
        if place >= size:  # a checkpoint lists blocks as free, and cuts them off
            break
        if start < place:
            yield start, place
        start = place + BLOCK_BYTES
    if start < size:
        yield start, size


def _copy_file(source: int, target: int, part: tuple[int, int, int], on_progress: Progress) -> None:
    done, end, size = part
    while done < end:
        count = copy_bytes(source, target, min(end, done + _PIECE_BYTES), done)
        if not count:
            break  # the file became shorter: a checkpoint: the headers differ
        done += count
        on_progress(done, size)
