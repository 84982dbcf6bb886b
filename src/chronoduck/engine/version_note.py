"""Files of a newer engine: by their format, and by the version noted beside them (``NAME.db.engine``).

DuckDB 2.0 opens the file and the WAL that 1.5 left. The other direction needs a clean stop: 1.5 replays
less than 2.0 writes. The file itself does not say which engine wrote its WAL.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from chronoduck.engine.boot_note import boot_id, boot_path, may_have_lost_power
from chronoduck.engine.disk_format import format_number
from chronoduck.engine.inspection import ENGINE_VERSION
from chronoduck.engine.offline.files import sync_directory
from chronoduck.errors import DatabaseFormatError

__all__ = ["DatabaseVersionError", "check_version_note", "is_of_another_engine", "write_notes"]


class DatabaseVersionError(DatabaseFormatError):
    """Another version of DuckDB wrote the file: nothing is damaged, and nothing may replace it."""


_HEADER_BYTES = 4096
_NEWEST_FORMAT = 68 if ENGINE_VERSION.startswith("1.") else 999
"""The newest format of a file that this engine reads; a test makes such a file."""


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
    """Refuse a file that only a newer engine reads, and a WAL that one wrote.

    Raises:
        DatabaseVersionError: the file's format is newer; nothing is damaged.
        DatabaseFormatError: the WAL is; names both versions.
    """
    noted = _read(database)
    _check_format(database, noted)
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


def _check_format(database: Path, noted: str | None) -> None:
    try:
        with database.open("rb") as file:
            number = format_number(file.read(_HEADER_BYTES))
    except FileNotFoundError:
        return
    if number is None or number <= _NEWEST_FORMAT:
        return
    is_known = noted is not None and _order(noted) > _order(ENGINE_VERSION)
    writer = f"DuckDB {noted}" if is_known else "a newer DuckDB"
    install = f"pip install duckdb=={noted}" if is_known else "pip install --upgrade chronoduck"
    raise DatabaseVersionError(
        f"{database} was written by {writer} (file format {number}): this is DuckDB {ENGINE_VERSION}, "
        f"which reads up to {_NEWEST_FORMAT}",
        hint=f"The file is not damaged, and nothing is to be restored. Install the engine that wrote it: "
        f"{install}",
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
