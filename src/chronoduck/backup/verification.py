"""Is a backup what was written? Told by its hashes, and by opening the database in it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from chronoduck.backup.encryption import can_decrypt
from chronoduck.backup.failures import BackupDamagedError
from chronoduck.backup.restore import check_unpacked, unpack_backup
from chronoduck.backup.shelf import noted_sha256
from chronoduck.backup.streams import read_stored, sha256_of
from chronoduck.engine.inspection import Inspection
from chronoduck.settings import BackupSettings

__all__ = ["check_stored", "verify_backup"]

Progress = Callable[[str, int, int], None]


def check_stored(
    path: Path,
    database_sha256: str,
    settings: BackupSettings,
    on_progress: Callable[[int], None] = lambda count: None,
) -> str:
    """Read a stored file as a restore would; return its own hash.

    A file that only a key elsewhere can decrypt is read, but not looked into.

    Raises:
        BackupDamagedError: what is in it is not the database that was written.
    """
    if can_decrypt(path, settings):
        digest = hashlib.sha256()
        for piece in read_stored(path, settings):
            digest.update(piece)
            on_progress(len(piece))
        if digest.hexdigest() != database_sha256:
            raise BackupDamagedError(f"{path} does not hold the database that was written into it")
    return sha256_of(path)


def verify_backup(
    path: Path,
    settings: BackupSettings,
    scratch: Path,
    *,
    full: bool = True,
    on_progress: Progress = lambda what, done, total: None,
) -> Inspection:
    """Unpack a backup below ``scratch``, read every column of every table and compare with the manifest.

    Raises:
        BackupNotFoundError: it is not there.
        BackupDamagedError: it is not what was written, or cannot be read.
        SettingsError: the key to it is not set.
    """
    with tempfile.TemporaryDirectory(prefix="chronoduck-verify-", dir=scratch) as directory:
        database = Path(directory) / "database.db"
        # A file that is thrown away: the newest version takes every type.
        manifest = unpack_backup(path, database, settings, on_progress, storage_version="latest")
        noted = {noted_sha256(path), manifest.sha256 if manifest else None} - {None, ""}
        if noted and noted != {sha256_of(path)}:
            raise BackupDamagedError(f"{path} is not the file that was written: its hash differs")
        return check_unpacked(path, database, manifest, full=full, on_progress=on_progress)
