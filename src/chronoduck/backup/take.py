"""Making a backup: copy, checkpoint, read every column, compress, encrypt, read again, store."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from chronoduck.backup.encryption import cipher_of
from chronoduck.backup.failures import BackupDamagedError, BackupError
from chronoduck.backup.keep import select_expired
from chronoduck.backup.order import made_now
from chronoduck.backup.records import Backup, BackupName, Manifest
from chronoduck.backup.restore import find_difference
from chronoduck.backup.shelf import Shelf
from chronoduck.backup.streams import sha256_of, write_stored
from chronoduck.backup.verification import check_stored
from chronoduck.engine.inspection import ENGINE_VERSION, Inspection
from chronoduck.engine.offline import copy_database, read_database, speaking_of
from chronoduck.engine.table_export import export_tables, import_tables
from chronoduck.errors import SettingsError
from chronoduck.errors.system import reason_of
from chronoduck.settings import Settings

__all__ = ["COPYING", "prune_backups", "take_backup"]

COPYING = "copying"
"""The step during which no checkpoint may happen."""
Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much there is."""


def take_backup(
    settings: Settings,
    tables: Sequence[str] = (),
    on_progress: Progress = lambda what, done, total: None,
) -> Backup:
    """Back the database up, or only some tables as Parquet; then delete backups that have expired.

    Run it in a process that does not serve the database. No checkpoint may happen while it is
    ``COPYING``; if one does, it copies again.

    Raises:
        BackupError: it could not be made; nothing of it is left.
        BackupDamagedError: tables would not come back as they are.
        DatabaseFailedError: the database itself is damaged: the sentence names the table.
        SettingsError: there is no backup directory.
    """
    shelf = Shelf.of(settings)
    if shelf is None:
        raise SettingsError(
            "there is no backup directory",
            hint="Set DUCKDB_BACKUP_DIR to a directory, best on another disk.",
        )
    cipher = "" if tables else cipher_of(settings.backup)
    try:
        work = shelf.working_directory()
        try:
            backup = _take(settings, shelf, work, tables, cipher, on_progress)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        prune_backups(settings)
    except OSError as error:
        raise BackupError(
            f"the backup in {shelf.directory} was not made: {reason_of(error, shows_text=True)}",
            hint="Check the directory's space and permissions.",
        ) from error
    return backup


def _take(
    settings: Settings,
    shelf: Shelf,
    work: Path,
    tables: Sequence[str],
    cipher: str,
    on_progress: Progress,
) -> Backup:
    started = time.monotonic()
    copy = work / "database.db"
    taken_at = datetime.now(UTC)
    copy_database(
        settings.database_path, copy, lambda done, total: on_progress(COPYING, done, total)
    )
    on_progress("verifying", 0, 0)
    if tables:
        name = shelf.new_name("parquet", "")
        with speaking_of(settings.database_path, copy):
            finished, read = _export(settings, tables, copy, work, name, on_progress)
        _check_export(finished, work / "restored.db", read, on_progress)
        files = {path.name: sha256_of(path) for path in sorted(finished.iterdir())}
        hashes = ("", "")
    else:
        name = shelf.new_name(f"db.{settings.backup.format}", cipher)
        with speaking_of(settings.database_path, copy):
            read = read_database(
                copy,
                full=True,
                checkpoint=True,
                newer_engine=settings.newer_engine,
                seconds=settings.deadline.opening,
                on_progress=lambda done, total: on_progress("verifying", done, total),
            ).inspection
        finished, files = work / name.file_name, {}
        hashes = _store(settings, copy, finished, name, on_progress)
    manifest = Manifest(
        id=name.id,
        database=settings.database_path.name,
        duckdb_version=ENGINE_VERSION,
        taken_at=taken_at.isoformat(timespec="milliseconds"),
        seconds=round(time.monotonic() - started, 3),
        database_bytes=copy.stat().st_size,
        stored_bytes=sum(p.stat().st_size for p in finished.iterdir())
        if finished.is_dir()
        else finished.stat().st_size,
        sha256=hashes[0],
        database_sha256=hashes[1],
        tables=read.tables,
        files=files,
        storage_version=read.storage_version,
    )
    return shelf.add(finished, name, manifest)


def _store(
    settings: Settings, copy: Path, finished: Path, name: BackupName, on_progress: Progress
) -> tuple[str, str]:
    """Write the stored file and read it again; return its hash and that of the database in it."""
    size = copy.stat().st_size
    count = _Count(on_progress, "compressing", size)
    plain_hash = write_stored(copy, finished, name, settings.backup, count)
    count = _Count(on_progress, "reading again", size)
    return check_stored(finished, plain_hash, settings.backup, count), plain_hash


class _Count:
    """Adds up the bytes of one step."""

    def __init__(self, on_progress: Progress, what: str, total: int) -> None:
        self._on_progress, self._what, self._total, self._done = on_progress, what, total, 0

    def __call__(self, count: int) -> None:
        self._done += count
        self._on_progress(self._what, self._done, self._total)


def _export(
    settings: Settings,
    tables: Sequence[str],
    copy: Path,
    work: Path,
    name: BackupName,
    on_progress: Progress,
) -> tuple[Path, Inspection]:
    directory = work / name.file_name
    directory.mkdir(mode=0o750)
    read = export_tables(
        copy,
        tables,
        directory,
        settings,
        lambda done, total: on_progress("exporting", done, total),
    )
    return directory, read


def _check_export(finished: Path, restored: Path, read: Inspection, on_progress: Progress) -> None:
    """Restore exported tables beside, and compare every row: Parquet has not all of DuckDB's types.

    Raises:
        BackupDamagedError: other values come back.
        DatabaseFailedError: they cannot be restored by themselves.
    """
    import_tables(
        finished,
        restored,
        lambda done, total: on_progress("reading again", done, total),
        storage_version=read.storage_version,
    )
    found = read_database(restored, full=True).inspection.tables
    difference = find_difference(read.tables, found)
    if difference:
        raise BackupDamagedError(
            f"the tables would not come back as they are: {difference}",
            hint="Back up the whole database instead: `chronoduck backup create`.",
        )


def prune_backups(settings: Settings) -> list[Backup]:
    """Delete the backups that the settings keep no longer; return them.

    Backups of the whole database and of tables are counted apart.
    """
    shelf = Shelf.of(settings)
    if shelf is None:
        return []
    gone = []
    backups, made = shelf.list(), shelf.made()
    steady = {each.name.taken_at: made[each.name.id] for each in backups if each.name.id in made}
    for is_tables in (False, True):
        kind = [each for each in backups if (each.name.kind == "parquet") == is_tables]
        expired = select_expired(
            [each.name.taken_at for each in kind],
            datetime.now(UTC),
            settings.backup,
            steady,
            made_now(0),
        )
        gone += [each for each in kind if each.name.taken_at in expired]
    shelf.remove(gone)
    return gone
