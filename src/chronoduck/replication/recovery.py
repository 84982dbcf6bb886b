"""The way back after damage or loss: set aside, restore the newest point, add what the local log has."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from chronoduck.engine.disk_format import WalCursor, read_wal
from chronoduck.engine.inspection import Inspection, inspect_database
from chronoduck.engine.replacing import place_file, refuse_existing, set_aside, wal_path
from chronoduck.errors import DiskFullError
from chronoduck.replication.archive import Archive
from chronoduck.replication.local_state import LocalState
from chronoduck.replication.restore import restore_files
from chronoduck.replication.restore_plan import RestorePlan, plan_restore, time_text
from chronoduck.units import format_bytes

__all__ = ["RestoreReport", "Verification", "restore_database"]

_THREADS = 8
Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much there is."""
Verification = str
"""``none``, ``quick`` (opens, counts rows) or ``full`` (reads every column)."""


@dataclass(frozen=True)
class RestoreReport:
    """What a restore came to."""

    plan: RestorePlan
    output: Path
    seconds: float
    grafted_commits: int
    """Transactions that the replica did not hold, taken from the local log."""
    set_aside: tuple[Path, ...]
    inspection: Inspection | None
    """None when it was not verified."""

    @property
    def time(self) -> str:
        """The restore point's time."""
        return time_text(self.plan.point.time_us)


def restore_database(
    archive: Archive,
    output: Path,
    *,
    to_us: int | None = None,
    verify: Verification = "quick",
    replace: str | None = None,
    graft: bool = False,
    on_progress: Progress = lambda what, done, total: None,
) -> RestoreReport:
    """Restore to a temporary name, verify, and give the file its name.

    ``replace``: the word in the name that an old file gets (``corrupt``, ``replaced``); without it an
    old file is refused. ``graft``: add the transactions that only the local log holds. The caller
    owns the output, so that no service has it open.

    Raises:
        RestoreRefusedError: the output is there already.
        RestoreTargetError: there is no such point.
        ReplicaDamagedError: the replica is not what was shipped.
        DatabaseFailedError: the restored file cannot be read.
        DiskFullError: the file would not fit.
        StoreError: the store failed. Whatever is raised, the old files are as they were.
    """
    if replace is None:
        refuse_existing(output)
    started = time.monotonic()
    temporary = output.with_name(f".{output.name}.restoring")
    for path in (temporary, wal_path(temporary)):
        path.unlink(missing_ok=True)  # of a restore that was killed
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="restore") as executor:
        on_progress("reading what the replica holds", 0, 0)
        plan = plan_restore(archive, archive.listing(), executor, to_us)
        _check_space(output.parent, plan)
        restore_files(
            archive,
            plan,
            temporary,
            executor,
            lambda done, total: on_progress("restoring", done, total),
        )
    grafted = _graft(plan, output, wal_path(temporary)) if graft else 0
    inspection = None
    if verify != "none" or plan.segments or grafted:
        # The log is folded in, so that one file is the whole database.
        inspection = inspect_database(
            temporary,
            full=verify == "full",
            fold_log=True,
            on_progress=lambda done, total: on_progress("verifying", done, total),
        )
    moved = set_aside(output, replace) if replace else ()
    _name(archive, plan, temporary, output)
    return RestoreReport(plan, output, time.monotonic() - started, grafted, moved, inspection)


def _check_space(directory: Path, plan: RestorePlan) -> None:
    free = shutil.disk_usage(directory).free
    needed = plan.file_bytes + 2 * plan.log_bytes  # the log is folded into the file
    if free < needed:
        raise DiskFullError(
            f"the volume of {directory} has {format_bytes(free)} free; the restore needs "
            f"{format_bytes(needed)}",
            hint="Free space there, or restore elsewhere: --output.",
        )


def _graft(plan: RestorePlan, database: Path, restored: Path) -> int:
    """Add the local log's transactions that follow what was shipped; return how many.

    Only when the local log begins with exactly what was shipped (or, when nothing of it was, when the
    local file's headers are those of the restored one), and the transactions do not refer to blocks
    of the local file, which is the one that cannot be trusted.
    """
    end = plan.point.offset
    try:
        data = wal_path(database).read_bytes()
        if plan.log_sha256 is None:
            with database.open("rb") as file:
                belongs = file.read(len(plan.headers)) == plan.headers
        else:
            belongs = hashlib.sha256(data[:end]).hexdigest() == plan.log_sha256
    except OSError:
        return 0
    tail = read_wal(data[end:], WalCursor(end))
    if not belongs or not tail.commits or tail.needs_blocks:
        return 0
    descriptor = os.open(restored, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data[end : tail.offset])
        file.flush()
        os.fsync(file.fileno())
    return tail.commits


def _name(archive: Archive, plan: RestorePlan, temporary: Path, output: Path) -> None:
    """Give the restored file its name, with the note that it comes from this replica."""
    identity = archive.identity()
    if identity is not None:
        LocalState.of_restored(identity, temporary, plan.point.commits, plan.point.time_us).write(
            output
        )
    place_file(temporary, output)
