"""Directories and files before the engine touches them: who owns them and who else may open them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from pathlib import Path

from chronoduck.engine.disk_format import transaction_ends
from chronoduck.errors import DatabaseFormatError, DatabasePermissionError
from chronoduck.errors.system import reason_of
from chronoduck.permissions import (
    current_user,
    describe_path,
    directory_advice,
    file_advice,
    is_read_only,
    is_writable,
    new_directory_advice,
)
from chronoduck.units import format_count

__all__ = [
    "check_database_file",
    "clear_temp_directory",
    "find_descriptor",
    "is_open_here",
    "prepare_directory",
    "private_temp_directory",
    "restrict_mode",
]

_MAGIC = b"DUCK"
_MAGIC_OFFSET = 8
_OTHERS = stat.S_IRWXO
_WALS = (".wal", ".wal.checkpoint")
_NOTES = (".replica", ".engine")
"""Files that the service writes beside a database that it has opened."""
_RECOVER = (
    "run `chronoduck recover`: it restores the replica's newest point and adds the transactions that "
    "only the WAL has. Without a replica: `chronoduck recover --from BACKUP`. Both keep what is here as "
    "….corrupt-TIME."
)


def is_open_here(path: Path) -> bool:
    """Whether this process has the file open; False where there is no ``/proc`` to ask."""
    return find_descriptor(path) is not None


def find_descriptor(path: Path) -> int | None:
    """Return a descriptor with which this process has the file open, as DuckDB has the database."""
    try:
        descriptors = list(Path("/proc/self/fd").iterdir())
    except OSError:
        return None
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # closed since the listing
            if descriptor.samefile(path):
                return int(descriptor.name)
    return None


def prepare_directory(path: Path, *, mode: int, setting: str) -> None:
    """Create the directory with ``mode`` when it is missing, else check that it can be used.

    Raises:
        DatabasePermissionError: it cannot be created, is not writable by this process, or is
            writable by every user of the machine.
    """
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise DatabasePermissionError(
            f"the directory {path} cannot be created: {reason_of(error, shows_text=True)}",
            hint=new_directory_advice(path, mode, setting=setting),
        ) from error
    if not path.is_dir():
        raise DatabasePermissionError(
            f"{describe_path(path)} is not a directory", hint=f"Set {setting} to a directory."
        )
    if path.stat().st_mode & stat.S_IWOTH:
        raise DatabasePermissionError(
            f"{describe_path(path)} is writable by every user of this machine",
            hint=directory_advice(path, mode, setting=setting),
        )
    if not is_writable(path):
        raise DatabasePermissionError(
            f"{path} is on a volume that is mounted read-only"
            if is_read_only(path)
            else f"{describe_path(path)} is not writable by user {current_user()}",
            hint=directory_advice(path, mode, setting=setting),
        )


def private_temp_directory(root: Path, database: Path) -> Path:
    """Create and return the folder below ``root`` that only this database's service uses.

    Two instances must not share a spill folder: DuckDB names its files alike in each.
    """
    prepare_directory(root, mode=0o755, setting="DUCKDB_TEMP_DIRECTORY")
    name = f"{database.stem}-{hashlib.sha256(str(database).encode()).hexdigest()[:8]}"
    directory = root / name
    prepare_directory(directory, mode=0o700, setting="DUCKDB_TEMP_DIRECTORY")
    if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
        raise DatabasePermissionError(
            f"{describe_path(directory)} does not belong to user {current_user()}",
            hint="Set DUCKDB_TEMP_DIRECTORY to a directory of the service's own.",
        )
    directory.chmod(0o700)
    return directory


def clear_temp_directory(directory: Path) -> None:
    """Remove what a process that was killed left in it: spooled loads and results, spilled blocks.

    Files of others stay: code in the service's process may keep some there.
    """
    for leftover in (*directory.glob("spool/*"), *directory.glob("duckdb_temp*")):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                leftover.unlink()


def check_database_file(path: Path) -> None:
    """Check an existing database file before it is opened; a missing one is fine.

    Must not run in a process that has the file open: closing it here would drop the engine's lock.

    Raises:
        DatabasePermissionError: not readable and writable by this process, or open to others.
        DatabaseFormatError: not a DuckDB file, or a write-ahead log lies there without its database.
    """
    if not path.exists():
        _check_no_wal(path)
        return
    if not path.is_file():
        raise DatabaseFormatError(
            f"{describe_path(path)} is not a file", hint="Set DUCKDB_DATABASE_PATH to a file."
        )
    if _is_open_to_others(path):
        raise DatabasePermissionError(
            f"{describe_path(path)} is open to every user of this machine",
            hint=file_advice(path, 0o640),
        )
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        raise DatabasePermissionError(
            f"{describe_path(path)} is not readable and writable by user {current_user()}",
            hint=file_advice(path, 0o640),
        )
    if not is_database_file(path):
        raise _no_database(path)


def _is_open_to_others(path: Path) -> bool:
    """Whether others may have changed the file, or may read it and this process cannot end that.

    DuckDB itself makes files of mode 0644: opening one restricts it, see ``restrict_mode``.
    """
    facts = path.stat()
    if facts.st_mode & stat.S_IWOTH:
        return True
    return bool(facts.st_mode & _OTHERS) and os.geteuid() != facts.st_uid


def _check_no_wal(path: Path) -> None:
    """Refuse to begin a new database where a WAL holds what is left of the old one.

    The hints must not lead anybody to move the WAL away: it may be the only copy of its transactions.
    """
    for wal in _wals(path):
        held = _transactions_in(wal)
        raise DatabaseFormatError(
            f"{path} is not there, but {wal} is, with {held}: a new database would not have them",
            hint="Put the database file back beside the .wal. Or leave the .wal where it is and "
            f"{_RECOVER}",
        )


def _no_database(path: Path) -> DatabaseFormatError:
    """Return the error for a file that does not begin like a database: damaged, or never one."""
    what = "is empty" if path.stat().st_size == 0 else "is not a DuckDB database"
    wals = _wals(path)
    if wals:
        what += f", and {wals[0]} beside it holds {_transactions_in(wals[0])}"
    notes = (path.with_name(path.name + suffix) for suffix in _NOTES)
    if wals or any(note.exists() for note in notes):
        hint = f"Leave its files where they are: it was a database, and is damaged. Then {_RECOVER}"
    else:
        hint = (
            "Check DUCKDB_DATABASE_PATH: nothing beside the file says that it was this service's "
            f"database. If it was, {_RECOVER}"
        )
    return DatabaseFormatError(f"{path} {what}", hint=hint)


def _wals(path: Path) -> list[Path]:
    wals = (path.with_name(path.name + suffix) for suffix in _WALS)
    return [wal for wal in wals if wal.exists() and wal.stat().st_size > 0]


def _transactions_in(wal: Path) -> str:
    try:
        return format_count(len(transaction_ends(wal.read_bytes())), "transaction")
    except OSError:
        return "transactions"


def is_database_file(path: Path) -> bool:
    """Whether it is a file that begins like a DuckDB database's."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(_MAGIC_OFFSET + len(_MAGIC))[_MAGIC_OFFSET:] == _MAGIC


def restrict_mode(path: Path) -> None:
    """Take the database file and its log away from other users (0640), as the guide asks."""
    for file in (path, path.with_name(path.name + ".wal")):
        if file.exists() and file.stat().st_mode & _OTHERS:
            file.chmod(stat.S_IMODE(file.stat().st_mode) & ~_OTHERS)
