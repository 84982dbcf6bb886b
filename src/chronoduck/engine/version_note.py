"""The version of DuckDB that wrote last, noted beside the database: ``NAME.db.engine``.

DuckDB 2.0 opens the file and the WAL that 1.5 left. The other direction needs a clean stop: 1.5 replays
less than 2.0 writes. The file itself does not say which engine wrote its WAL.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from chronoduck.engine.boot_note import boot_id, boot_path, may_have_lost_power
from chronoduck.engine.inspection import ENGINE_VERSION
from chronoduck.engine.offline.files import sync_directory
from chronoduck.errors import DatabaseFormatError

__all__ = ["check_version_note", "is_of_another_engine", "write_notes"]


def _note_path(database: Path) -> Path:
    return database.with_name(database.name + ".engine")


def _read(database: Path) -> str | None:
    """Return the noted version, None when there is no note that can be read."""
    try:
        text = _note_path(database).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if text and all(part.isdigit() for part in text.split(".")) else None


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def is_of_another_engine(database: Path) -> bool:
    """Whether another version than this one had the database open last."""
    noted = _read(database)
    return noted is not None and noted != ENGINE_VERSION


def check_version_note(database: Path) -> None:
    """Refuse a WAL that a newer engine wrote.

    Raises:
        DatabaseFormatError: names both versions.
    """
    noted = _read(database)
    wal = database.with_name(database.name + ".wal")
    if noted is None or _order(noted) <= _order(ENGINE_VERSION):
        return
    with contextlib.suppress(FileNotFoundError):
        if wal.stat().st_size:
            raise DatabaseFormatError(
                f"{wal} was written by DuckDB {noted}, and this is {ENGINE_VERSION}: an older engine "
                "may lose some of it or fail to replay it",
                hint=f"Start the service once with DuckDB {noted} and stop it cleanly, then go back.",
            )


def write_notes(database: Path) -> None:
    """Note this engine and this boot, once it has opened the file and before anything is written."""
    if _read(database) != ENGINE_VERSION:
        _replace(_note_path(database), f"{ENGINE_VERSION}\n".encode())
    if (boot := boot_id()) and may_have_lost_power(database):
        # On a full disk the service starts all the same; the old note then claims nothing of this boot.
        with contextlib.suppress(OSError):
            _replace(boot_path(database), boot)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        os.fchmod(file.fileno(), 0o640)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)
