"""Damage in a write-ahead log that DuckDB would pass over in silence: found before it is opened."""

from __future__ import annotations

import os
from pathlib import Path

from chronoduck.engine.boot_note import may_have_lost_power
from chronoduck.engine.disk_format import (
    HEADER_BYTES,
    DamagedHeaderError,
    WalCursor,
    find_damage,
    missing_blocks,
    read_header,
    read_wal,
    torn_end,
)
from chronoduck.engine.offline import free_name, sync_directory
from chronoduck.errors import DamagedLogError, DatabaseCorruptError, DatabaseFormatError
from chronoduck.units import format_count

__all__ = ["check_headers", "check_log", "cut_torn_end"]


def check_log(database: Path) -> None:
    """Check the WAL of a database that is not open, and the one that a checkpoint left.

    Raises:
        DamagedLogError: transactions in it would be dropped.
    """
    for suffix in (".wal", ".wal.checkpoint"):
        log = database.with_name(database.name + suffix)
        if log.exists():
            _check(log, database)


def _check(log: Path, database: Path) -> None:
    if not database.exists():
        raise DamagedLogError(
            f"{log} is there, but {database} is not: its transactions would be dropped",
            hint="Put the database file back; or run `chronoduck recover`, which restores the "
            "replica's newest point and adds what follows it in this WAL.",
        )
    damage = find_damage(log.read_bytes(), may_be_torn=may_have_lost_power(database))
    if damage is not None:
        raise DamagedLogError(
            f"{log} is damaged at byte {damage.offset:,}: opening the database would silently drop "
            f"at least {format_count(damage.lost_commits, 'transaction')} behind it",
            hint="Run `chronoduck recover` if there is a replica: it restores all that was shipped, and "
            "counts the transactions that neither the replica nor a readable part of the WAL has. "
            "Without a replica start once with DUCKDB_QUARANTINE_WAL=true: it keeps "
            f"{format_count(damage.good.commits, 'transaction')} before the damage, and puts the rest "
            "into a file.",
        )


def cut_torn_end(database: Path) -> tuple[Path, ...]:
    """Cut off the incomplete transaction at the end of the WAL; return the files that keep its bytes.

    Call it after ``check_log``. A crash leaves such an end of a transaction that was not synced and so
    not acknowledged. A WAL that was cut short looks the same: so the bytes are kept, in
    ``NAME.db.wal.torn-TIME``.

    Raises:
        OSError: The files cannot be written.
    """
    try:
        with database.open("rb") as file:
            root = read_header(file.read(HEADER_BYTES)).meta_block
    except (FileNotFoundError, DatabaseFormatError):
        return ()  # new, or damaged: that is said elsewhere
    kept: list[Path] = []
    for suffix in (".wal", ".wal.checkpoint"):
        log = database.with_name(database.name + suffix)
        data = log.read_bytes() if log.exists() else b""
        end = torn_end(data, root)
        if end is None:
            continue
        torn = free_name(log, "torn")
        with torn.open("xb") as file:
            file.write(data[end:])
            file.flush()
            os.fsync(file.fileno())
        sync_directory(log.parent)
        with log.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())
        kept.append(torn)
    return tuple(kept)


def check_headers(database: Path) -> None:
    """Check the headers of a database that is not open.

    DuckDB opens a file with one damaged root by the other one, which is a checkpoint older. That is
    right after a crash in a checkpoint, whose entry then stands in the WAL. Else it would drop a whole
    checkpoint in silence. It also opens a file whose end is cut off, and fails when it reads there.

    Raises:
        DatabaseCorruptError: they are damaged, or the file lacks blocks that they count as used.
    """
    if not database.exists():
        return
    with database.open("rb") as file:
        headers = file.read(HEADER_BYTES)
        try:
            header = read_header(headers)
        except DamagedHeaderError as error:
            if _was_in_checkpoint(database):
                return
            raise _corrupt(database, error.detail) from error
        except DatabaseFormatError:
            return  # of another kind, which DuckDB may know and we do not
        missing = missing_blocks(
            header,
            os.fstat(file.fileno()).st_size,
            lambda offset, count: os.pread(file.fileno(), count, offset),
        )
    if missing:
        raise _corrupt(
            database,
            f"its end is cut off: {len(missing):,} of the {header.block_count:,} blocks that its "
            "header counts are in use and not there",
        )


def _corrupt(database: Path, what: str) -> DatabaseCorruptError:
    return DatabaseCorruptError(
        f"{database} cannot be opened: {what}",
        hint="Keep the files as they are. Restore the newest point (chronoduck recover) or a "
        "backup (chronoduck recover --from BACKUP).",
    )


def _was_in_checkpoint(database: Path) -> bool:
    log = database.with_name(database.name + ".wal")
    return log.exists() and read_wal(log.read_bytes(), WalCursor()).checkpoint is not None
