"""What can be done in a process of its own: a name, and a function of settings and progress."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from chronoduck.backup.failures import BackupNotFoundError
from chronoduck.backup.shelf import Shelf
from chronoduck.backup.take import COPYING, take_backup
from chronoduck.backup.verification import verify_backup
from chronoduck.engine.compaction import compact_file
from chronoduck.engine.disk_format import headers_sha256
from chronoduck.engine.inspection import refuse_damaged_indexes
from chronoduck.engine.offline import (
    copy_database,
    find_poisoned,
    read_database,
    remove_database,
    speaking_of,
)
from chronoduck.engine.quarantined import QuarantineList
from chronoduck.replication.drill import run_drill
from chronoduck.replication.opening import open_archive
from chronoduck.settings import Settings
from chronoduck.sync import SourceDeclaration, SyncDeclaration
from chronoduck.sync.capturing import capture_source, drop_capture, release_log
from chronoduck.sync.reading import read_source
from chronoduck.sync.slot import Capture
from chronoduck.sync.spool import Spool
from chronoduck.transfer.object_files import fetch_objects

__all__ = ["TASKS", "Progress", "scratch_directory"]

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much there is (0: unknown)."""


@contextmanager
def scratch_directory(settings: Settings, purpose: str) -> Iterator[Path]:
    """Enter a directory of this database's alone; what a killed task left in it is removed first."""
    name = hashlib.sha256(str(settings.database_path).encode()).hexdigest()[:8]
    directory = settings.temp_directory / f"{purpose}-{name}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _backup(settings: Settings, show: Progress, *, tables: Sequence[str]) -> dict[str, Any]:
    return take_backup(settings, tables, show).as_dict()


def _verify_backup(settings: Settings, show: Progress, *, backup: str) -> dict[str, Any]:
    shelf = Shelf.of(settings)
    if shelf is None:
        raise BackupNotFoundError("there is no backup directory: set DUCKDB_BACKUP_DIR")
    kept = shelf.find(backup)
    with scratch_directory(settings, "verify-backup") as scratch:
        found = verify_backup(kept.path, settings.backup, scratch, on_progress=show)
    return {"id": kept.name.id, "tables": len(found.tables), "rows": found.rows}


def _verify_database(settings: Settings, show: Progress) -> dict[str, Any]:
    """Read a copy of the live database to the last column: damage on the disk is in the copy too."""
    with scratch_directory(settings, "verify-database") as scratch:
        copy = scratch / "database.db"
        copy_database(settings.database_path, copy, lambda done, total: show(COPYING, done, total))
        with speaking_of(settings.database_path, copy):
            found = read_database(
                copy,
                full=True,
                checkpoint=True,
                newer_engine=settings.newer_engine,
                seconds=settings.deadline.opening,
                on_progress=lambda done, total: show("verifying", done, total),
            ).inspection
            poisoned = find_poisoned(copy, seconds=settings.deadline.opening)
        refuse_damaged_indexes(settings.database_path, found)
        quarantined = [column.name for column in poisoned.columns]
        QuarantineList(settings.database_path).write(quarantined, poisoned.names)
    facts = {"tables": len(found.tables), "rows": found.rows}
    return facts | ({"quarantined": quarantined} if quarantined else {})


def _compact(
    settings: Settings,
    show: Progress,
    *,
    storage_version: str | None = None,
    uses_scratch: bool = False,
) -> dict[str, Any]:
    """Write the live database into a new file beside it; nothing is written to it meanwhile.

    With ``uses_scratch`` the copy that is read is on the volume of temporary files.
    """
    database = settings.database_path
    new = database.with_name(f".{database.name}.compacted")
    beside = database.with_name(f".{database.name}.copied")
    remove_database(new)  # of a compaction that was killed
    remove_database(beside)
    with ExitStack() as stack:
        copy = beside
        if uses_scratch:
            copy = stack.enter_context(scratch_directory(settings, "compact")) / "copy.db"
        stack.callback(remove_database, copy)
        try:
            copy_database(
                database,
                copy,
                lambda done, total: show(COPYING, done, total),
                skips_free=True,
            )
            headers = headers_sha256(copy)
            with speaking_of(database, copy):
                rows = compact_file(
                    copy,
                    new,
                    lambda done, total: show("compacting", done, total),
                    storage_version=storage_version,
                )
        except BaseException:
            remove_database(new)
            raise
    new.chmod(0o640)
    return {"file": str(new), "rows": rows, "headers_sha256": headers}


def _drill(settings: Settings, show: Progress) -> dict[str, Any]:
    with scratch_directory(settings, "drill") as scratch:
        return run_drill(open_archive(settings), settings, scratch, show).as_dict()


def _read_source(
    settings: Settings,
    show: Progress,
    *,
    sync: dict[str, Any],
    source: dict[str, Any],
    directory: str,
    watermark: str | None,
) -> dict[str, Any]:
    """Read a table of PostgreSQL into files of a directory; the service merges them."""
    return read_source(
        SyncDeclaration(**sync),
        SourceDeclaration(**source),
        Spool(Path(directory)),
        watermark,
        show,
    )


def _capture_source(
    settings: Settings,
    show: Progress,
    *,
    sync: dict[str, Any],
    source: dict[str, Any],
    directory: str,
    capture: dict[str, Any],
    lsn: str | None,
) -> dict[str, Any]:
    """Read what the log of PostgreSQL tells into files of a directory; the service merges them."""
    return capture_source(
        SyncDeclaration(**sync),
        SourceDeclaration(**source),
        Spool(Path(directory)),
        Capture.of(capture),
        lsn,
        show,
    )


def _release_log(
    settings: Settings,
    show: Progress,
    *,
    source: dict[str, Any],
    capture: dict[str, Any],
    lsn: str | None,
) -> dict[str, Any]:
    show("releasing the log", 0, 0)
    return release_log(SourceDeclaration(**source), Capture.of(capture), lsn)


def _drop_capture(
    settings: Settings, show: Progress, *, source: dict[str, Any], capture: dict[str, Any]
) -> dict[str, Any]:
    show("dropping slot and publication", 0, 0)
    return drop_capture(SourceDeclaration(**source), Capture.of(capture))


def _fetch_objects(
    settings: Settings, show: Progress, *, addresses: list[str], directory: str
) -> dict[str, Any]:
    """Fetch objects that a statement reads, on an engine that cannot read them itself."""
    return {"files": fetch_objects(addresses, Path(directory), settings, show)}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "backup": _backup,
    "verify_backup": _verify_backup,
    "verify_database": _verify_database,
    "drill": _drill,
    "compact": _compact,
    "read_source": _read_source,
    "capture_source": _capture_source,
    "release_log": _release_log,
    "drop_capture": _drop_capture,
    "fetch_objects": _fetch_objects,
}
