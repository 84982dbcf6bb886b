"""A backup back into a database file: decrypted, decompressed, compared with what was noted of it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chronoduck.backup.failures import BackupDamagedError, BackupNotFoundError
from chronoduck.backup.records import BackupName, Manifest
from chronoduck.backup.shelf import noted_sha256, require_manifest
from chronoduck.backup.streams import read_stored, sha256_of
from chronoduck.engine.inspection import Inspection, TableFacts
from chronoduck.engine.offline import read_database, remove_database
from chronoduck.engine.replacing import place_file, refuse_existing, set_aside
from chronoduck.engine.table_export import import_tables
from chronoduck.settings import DEFAULT_STORAGE_VERSION, BackupSettings

__all__ = [
    "BackupRestoreReport",
    "check_unpacked",
    "find_difference",
    "restore_backup",
    "unpack_backup",
]

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much there is (0: nobody knows)."""


@dataclass(frozen=True)
class BackupRestoreReport:
    """What a restore from a backup came to."""

    source: Path
    output: Path
    taken_at: str
    """Everything that was committed before is in it; empty when nothing was noted of it."""
    seconds: float
    set_aside: tuple[Path, ...]
    inspection: Inspection | None


def restore_backup(
    source: Path,
    output: Path,
    settings: BackupSettings,
    *,
    storage_version: str = DEFAULT_STORAGE_VERSION,
    verify: str = "quick",
    replace: str | None = None,
    on_progress: Progress = lambda what, done, total: None,
) -> BackupRestoreReport:
    """Restore to a temporary name, verify, and give the file its name.

    ``storage_version``: that of the file made of a backup of tables which noted none. ``replace``:
    the word in the name that an old file gets; without it an old file is refused. The
    caller owns the output, so that no service has it open.

    Raises:
        RestoreRefusedError: the output is there already.
        BackupNotFoundError: the backup is not there.
        BackupDamagedError: it is not what was written. Whatever is raised, old files are as they were.
    """
    if replace is None:
        refuse_existing(output)
    started = time.monotonic()
    temporary = output.with_name(f".{output.name}.restoring")
    remove_database(temporary)  # of a restore that was killed
    try:
        manifest = unpack_backup(
            source, temporary, settings, on_progress, storage_version=storage_version
        )
        inspection = None
        if verify != "none":
            inspection = check_unpacked(
                source, temporary, manifest, full=verify == "full", on_progress=on_progress
            )
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    moved = set_aside(output, replace) if replace else ()
    place_file(temporary, output)
    return BackupRestoreReport(
        source, output, _taken_at(source, manifest), time.monotonic() - started, moved, inspection
    )


def unpack_backup(
    source: Path,
    target: Path,
    settings: BackupSettings,
    on_progress: Progress = lambda what, done, total: None,
    *,
    storage_version: str = DEFAULT_STORAGE_VERSION,
) -> Manifest | None:
    """Write the database file that a backup holds, durably; return what was noted of it.

    Raises:
        BackupNotFoundError: the backup is not there.
        BackupDamagedError: its hash, or that of what is in it, is another than was noted.
    """
    if not source.exists():
        raise BackupNotFoundError(f"{source} is not there")
    manifest = require_manifest(source)
    if source.is_dir():
        _check_files(source, manifest)
        import_tables(
            source,
            target,
            lambda done, total: on_progress("restoring tables", done, total),
            storage_version=storage_version,
            noted_version=manifest.storage_version if manifest else "",
        )
        return manifest
    noted = None if manifest else noted_sha256(source)
    if noted is not None and sha256_of(source) != noted:
        raise BackupDamagedError(f"{source} is not the file that was written: its hash differs")
    total = manifest.database_bytes if manifest else 0
    digest, done = hashlib.sha256(), 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "wb") as file:
        for piece in read_stored(source, settings):
            digest.update(piece)
            file.write(piece)
            done += len(piece)
            on_progress("restoring", done, total)
        file.flush()
        os.fsync(file.fileno())
    if manifest is not None and digest.hexdigest() != manifest.database_sha256:
        raise BackupDamagedError(f"{source} does not hold the database that was written into it")
    return manifest


def check_unpacked(
    source: Path,
    database: Path,
    manifest: Manifest | None,
    *,
    full: bool,
    on_progress: Progress = lambda what, done, total: None,
) -> Inspection:
    """Open an unpacked database and compare its tables with what was noted.

    Raises:
        BackupDamagedError: rows or hashes differ.
        DatabaseFailedError: it cannot be read.
    """
    inspection = read_database(
        database,
        full=full,
        on_progress=lambda done, total: on_progress("verifying", done, total),
    ).inspection
    if manifest is not None:
        difference = find_difference(manifest.tables, inspection.tables)
        if difference:
            raise BackupDamagedError(f"{source}: {difference}")
    return inspection


def find_difference(noted: Sequence[TableFacts], found: Sequence[TableFacts]) -> str:
    """Return a clause about the first table that is not as it was noted; empty when all are."""
    theirs = {table.name: table for table in found}
    for table in noted:
        other = theirs.pop(table.name, None)
        if other is None:
            return f"table {table.name} is missing"
        if other.rows != table.rows:
            return f"table {table.name} has {other.rows:,} rows, and {table.rows:,} were backed up"
        if other.hash is not None and table.hash is not None and other.hash != table.hash:
            return f"table {table.name} holds other values than were backed up"
    return f"table {next(iter(theirs))} was not backed up" if theirs else ""


def _check_files(directory: Path, manifest: Manifest | None) -> None:
    if manifest is None:
        raise BackupDamagedError(f"{directory} has no manifest.json that can be read")
    for name, digest in manifest.files.items():
        path = directory / name
        if not path.exists() or sha256_of(path) != digest:
            raise BackupDamagedError(f"{path} is missing, or not the file that was written")


def _taken_at(source: Path, manifest: Manifest | None) -> str:
    if manifest is not None:
        return manifest.taken_at
    name = BackupName.parse(source.resolve().name)
    return name.taken_at.isoformat() if name else ""
