"""The way back after damage or loss: set aside, restore the newest point, add what the local log has."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from dataclasses import replace as replace_field
from pathlib import Path

from chronoduck.engine.disk_format import (
    WalCursor,
    database_id,
    find_damage,
    newest_iteration,
    read_wal,
    wal_owner,
    without_failed_checkpoints,
)
from chronoduck.engine.inspection import Inspection
from chronoduck.engine.offline import (
    Opening,
    UnopenableError,
    free_name,
    join_wal,
    read_database,
    read_root,
    remove_database,
    rename_aside,
    side_files,
)
from chronoduck.engine.replacing import place_file, refuse_existing, set_aside, wal_path
from chronoduck.engine.version_note import check_version_note
from chronoduck.errors import DiskFullError
from chronoduck.replication.archive import Archive
from chronoduck.replication.failures import ReplicaDamagedError
from chronoduck.replication.local_state import LocalState
from chronoduck.replication.restore import restore_files
from chronoduck.replication.restore_plan import (
    PointName,
    RestorePlan,
    plan_restore,
    time_text,
)
from chronoduck.replication.salvage import find_newest_whole_point
from chronoduck.storage import BlobNotFoundError
from chronoduck.units import format_bytes, format_count

__all__ = [
    "LocalTail",
    "RestoreReport",
    "Verification",
    "recover_database",
    "restore_database",
]

_THREADS = 8
Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much there is."""
Verification = str
"""``none``, ``quick`` (opens, counts rows) or ``full`` (reads every column)."""


@dataclass(frozen=True)
class LocalTail:
    """The transactions of the local log that the replica did not hold."""

    grafted: int = 0
    """Taken over."""
    lost: int | None = 0
    """Not taken over, at least; None: there is no log that could tell."""
    unrelated: int = 0
    """Transactions in a local WAL that does not continue what was restored; it is set aside."""


@dataclass(frozen=True)
class RestoreReport:
    """What a restore came to."""

    plan: RestorePlan
    output: Path
    seconds: float
    local: LocalTail
    """What came of the transactions that only the local log held."""
    set_aside: tuple[Path, ...]
    inspection: Inspection | None
    """None when it was not verified."""
    opening: Opening = field(default_factory=Opening)
    """How the restored file was opened, and what that cost."""
    damage: str = ""
    """What is wrong with newer points of the replica, which therefore were not restored."""

    @property
    def transactions(self) -> int:
        """Transactions in the restored database, since its replica began."""
        return self.plan.point.commits + self.local.grafted - self.opening.lost

    @property
    def time(self) -> str:
        """The restore point's time."""
        return time_text(self.plan.point.time_us)


def restore_database(
    archive: Archive,
    output: Path,
    *,
    to_us: int | None = None,
    at: PointName | None = None,
    verify: Verification = "quick",
    replace: str | None = None,
    graft: bool = False,
    may_shorten: bool = False,
    accept: Callable[[RestorePlan, LocalTail], None] = lambda plan, local: None,
    newer_engine: Path | None = None,
    seconds: float = 120.0,
    on_progress: Progress = lambda what, done, total: None,
) -> RestoreReport:
    """Restore to a temporary name, verify, and give the file its name.

    ``to_us``: the newest point not after a time; ``at``: the point of that name; else the newest.
    ``replace``: the word in the name that an old file gets (``corrupt``, ``replaced``); without it an
    old file is refused. ``graft``: add the transactions that only the local WAL holds.
    ``may_shorten``: leave transactions out at the end that DuckDB cannot replay. ``accept`` may raise
    before anything takes the old files' place. ``newer_engine``: see ``open_by_ways``. ``seconds``: how
    long one attempt to open an empty database may take. The caller owns the output, so that no service
    has it open.

    Raises:
        RestoreRefusedError: the output is there already.
        RestoreTargetError: there is no such point.
        ReplicaDamagedError: the replica is not what was shipped.
        UnopenableError: DuckDB cannot replay the WAL up to this point.
        DatabaseFailedError: the restored file cannot be read.
        DiskFullError: the file would not fit.
        StoreError: the store failed. Whatever is raised, the old files are as they were.
    """
    if replace is None:
        refuse_existing(output)
    started = time.monotonic()
    temporary = output.with_name(f".{output.name}.restoring")
    remove_database(temporary)  # of a restore that was killed
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="restore") as executor:
        on_progress("reading what the replica holds", 0, 0)
        plan = plan_restore(archive, archive.listing(), executor, to_us, at)
        _check_space(output.parent, plan)
        restore_files(
            archive,
            plan,
            temporary,
            executor,
            lambda done, total: on_progress("restoring", done, total),
        )
    try:
        local = _graft(plan, output, wal_path(temporary)) if graft else LocalTail()
        accept(plan, local)
        inspection, opening = None, Opening()
        if verify != "none" or plan.segments or local.grafted:
            # The WAL is taken into the file, so that one file is the whole database.
            reading = read_database(
                temporary,
                full=verify == "full",
                checkpoint=True,
                may_shorten=may_shorten,
                newer_engine=newer_engine,
                seconds=seconds,
                on_progress=lambda done, total: on_progress("verifying", done, total),
            )
            inspection, opening = reading.inspection, reading.opening
    except UnopenableError as error:
        remove_database(temporary)
        raise _not_restorable(error, plan, output) from error
    except BaseException:
        remove_database(temporary)
        raise
    gone = _gone_from_replica(plan, output) if to_us is None and at is None else ""
    moved = set_aside(output, replace) if replace else ()
    opening = _keep_rest(opening, output)
    _name(archive, plan, temporary, output)
    return RestoreReport(
        plan, output, time.monotonic() - started, local, moved, inspection, opening, gone
    )


def _gone_from_replica(plan: RestorePlan, output: Path) -> str:
    """Say what the replica held once, by this machine's note, and does not hold any more."""
    note = LocalState.read(output)
    if note is None or note.time_us <= plan.point.time_us:
        return ""
    return (
        f"this machine had shipped {note.commits:,} transactions up to {time_text(note.time_us)}; the "
        f"replica now ends with {plan.point.commits:,} at {time_text(plan.point.time_us)}"
    )


def _not_restorable(error: UnopenableError, plan: RestorePlan, output: Path) -> UnopenableError:
    """Return the error with the way out that a restore has: an earlier point."""
    hint = "Restore another point (chronoduck restore --list), or a backup: chronoduck backup list."
    if error.kept is not None:
        hint = (
            "Restore an earlier point, of "
            f"{format_count(plan.point.commits - error.lost, 'transaction')} or fewer "
            "(chronoduck restore --list), or a backup (chronoduck backup list); `chronoduck recover` "
            f"restores this point without its last {format_count(error.lost, 'transaction')}."
        )
    refusals = tuple(each.replace(str(error.database), str(output)) for each in error.refusals)
    return UnopenableError(output, refusals, error.kept, error.lost, hint)


def _keep_rest(opening: Opening, output: Path) -> Opening:
    """Give the bytes of transactions that were left out a name beside the restored database."""
    if opening.rest is None:
        return opening
    rest = rename_aside(opening.rest, free_name(wal_path(output), "rest"))
    return replace_field(opening, rest=rest)


def recover_database(
    archive: Archive,
    output: Path,
    *,
    verify: Verification = "full",
    newer_engine: Path | None = None,
    seconds: float = 120.0,
    on_progress: Progress = lambda what, done, total: None,
) -> RestoreReport:
    """Set the old files aside and restore the newest point that is whole, with the local WAL's tail.

    Transactions at the end that DuckDB cannot replay are left out: counted, and kept in a file.

    Raises:
        What ``restore_database`` raises; ReplicaDamagedError only when no point is whole.
        DatabaseFormatError: a newer engine wrote the local WAL.
    """
    check_version_note(output)

    def restore(to_us: int | None) -> RestoreReport:
        return restore_database(
            archive,
            output,
            to_us=to_us,
            verify=verify,
            replace="corrupt",
            graft=True,
            may_shorten=True,
            newer_engine=newer_engine,
            seconds=seconds,
            on_progress=on_progress,
        )

    try:
        return restore(None)
    except (ReplicaDamagedError, BlobNotFoundError) as error:
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="restore") as executor:
            whole_us = find_newest_whole_point(archive, executor, on_progress)
        if whole_us is None:
            raise
        return replace_field(restore(whole_us), damage=error.detail)


def _check_space(directory: Path, plan: RestorePlan) -> None:
    free = shutil.disk_usage(directory).free
    needed = plan.file_bytes + 2 * plan.log_bytes  # the checkpoint writes the WAL into the file
    if free < needed:
        raise DiskFullError(
            f"the volume of {directory} has {format_bytes(free)} free; the restore needs "
            f"{format_bytes(needed)}",
            hint="Free space there, or restore elsewhere: --output.",
        )


def _graft(plan: RestorePlan, database: Path, restored: Path) -> LocalTail:
    """Add the local WAL's transactions that follow what was shipped.

    Only when what is whole of the local WAL begins as what was shipped (or, when nothing of it was,
    when the local file or its WAL follows the restored checkpoint), and the transactions do not refer to
    blocks of the local file, which is the one that cannot be trusted.
    """
    end = plan.point.offset
    if not any(path.exists() for path in side_files(database)[:2]):
        # A file without a WAL was checkpointed and closed, unless the replica has more of that WAL.
        is_closed = plan.log_sha256 is None and _has_headers(database, plan)
        return LocalTail(0, 0 if is_closed else None)
    shipped = restored.read_bytes() if restored.exists() else b""
    log = _belonging_log(plan, database, shipped)
    if log is None:
        wal = side_files(database)[0]
        other = read_wal(wal.read_bytes(), WalCursor()).commits if wal.exists() else 0
        return LocalTail(0, None, other)
    tail = read_wal(log[end:], WalCursor(end))
    damage = find_damage(log)
    lost = damage.lost_commits if damage else 0
    if not tail.commits:
        return LocalTail(0, lost)
    if tail.needs_blocks:
        return LocalTail(0, tail.commits + lost)
    descriptor = os.open(restored, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "wb") as file:
        file.write(log[end : tail.offset])
        file.flush()
        os.fsync(file.fileno())
    return LocalTail(tail.commits, lost)


def _belonging_log(plan: RestorePlan, database: Path, shipped: bytes) -> bytes | None:
    """Return what was shipped with what the local WAL has behind it, None when it does not belong.

    A kill inside a checkpoint leaves two WALs: the old base's, with what committed meanwhile behind
    it; and, for a checkpoint that had written its header, the new base's.
    """
    wal, checkpoint, _ = side_files(database)
    main = without_failed_checkpoints(wal.read_bytes()) if wal.exists() else b""
    later = checkpoint.read_bytes() if checkpoint.exists() else None
    if plan.log_sha256 is None:
        is_ours = _has_headers(database, plan) or _follows(main, database, plan)
        return _joined(main, later, read_root(database)) if is_ours else None
    for log in (_joined(main, later, None), later or b""):
        # Damage in bytes that were shipped does no harm: whole transactions before it tell the WAL.
        known = min(read_wal(log, WalCursor()).offset, len(shipped))
        if known and log[:known] == shipped[:known]:
            return shipped + log[len(shipped) :]
    return None


def _joined(main: bytes, later: bytes | None, root: int | None) -> bytes:
    """Return both WALs as one; the only one as it is, with what stands behind damage in it."""
    return main if read_wal(main, WalCursor()).checkpoint is None else join_wal(main, later, root)


def _has_headers(database: Path, plan: RestorePlan) -> bool:
    try:
        with database.open("rb") as file:
            return file.read(len(plan.headers)) == plan.headers
    except OSError:
        return False


def _follows(wal: bytes, database: Path, plan: RestorePlan) -> bool:
    """Whether the WAL names the checkpoint that is restored, when the file itself is lost or damaged.

    Two copies of a database have the same identifier, and may count to the same checkpoint. So the note
    must say, too, that this very checkpoint is the one that was shipped from here.
    """
    note = LocalState.read(database)
    return (
        note is not None
        and note.headers_sha256 == hashlib.sha256(plan.headers).hexdigest()
        and wal_owner(wal) == (database_id(plan.headers), newest_iteration(plan.headers))
    )


def _name(archive: Archive, plan: RestorePlan, temporary: Path, output: Path) -> None:
    """Give the restored file its name, with the note that it comes from this replica."""
    try:
        identity = archive.identity()
    except ReplicaDamagedError:
        identity = None  # the next start says so; the data is what counts here
    if identity is not None:
        before = LocalState.read(output)
        LocalState.of_restored(
            identity, temporary, plan.point.commits, plan.point.time_us, before
        ).write(output)
    place_file(temporary, output)
