"""One database file takes another's place: never over it, always with its log, durably."""

from __future__ import annotations

from pathlib import Path

from chronoduck.engine.offline import (
    database_files,
    free_suffix,
    rename_aside,
    side_files,
    sync_directory,
)
from chronoduck.errors import DuckDBException

__all__ = ["RestoreRefusedError", "place_file", "refuse_existing", "set_aside", "wal_path"]


class RestoreRefusedError(DuckDBException):
    """A restore would overwrite something that is in use or not set aside."""

    code = "restore_refused"
    title = "Restore refused"
    http_status = 409
    exit_code = 73


def wal_path(database: Path) -> Path:
    """Return the file that DuckDB keeps a database's log in."""
    return side_files(database)[0]


def refuse_existing(output: Path) -> None:
    """Check that neither the file nor a log of that name is there.

    Raises:
        RestoreRefusedError: one of them is. DuckDB would replay a leftover log into another's file.
    """
    for path in database_files(output):
        raise RestoreRefusedError(
            f"{path} is there already",
            hint="Name another --output; `chronoduck recover` sets the old files aside.",
        )


def set_aside(database: Path, word: str) -> tuple[Path, ...]:
    """Rename the database and the files beside it to ``NAME.word-TIME``; return the new names.

    Files that were set aside before stay, whatever the clock says.
    """
    suffix = free_suffix(database, word)
    # The WAL last: a file without its WAL would lose transactions if we die in between.
    moved = tuple(
        rename_aside(path, path.with_name(f"{path.name}.{suffix}"))
        for path in database_files(database)
    )
    sync_directory(database.parent)
    return moved


def place_file(temporary: Path, output: Path) -> None:
    """Give a finished file (and its log, if it has one) its name, durably."""
    log = wal_path(temporary)
    if log.exists():
        log.rename(wal_path(output))
    temporary.rename(output)
    sync_directory(output.parent)
