"""One database takes another's place, whole, and the old files keep a name of their own.

The new database has no WAL. A crash between two renames must neither pair it with the old WAL nor
leave the old file without its WAL: a plan is written first, and ``finish_placing`` carries it out.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from chronoduck.engine.offline.aside import rename_aside
from chronoduck.engine.offline.files import (
    database_files,
    remove_database,
    side_files,
    sync_directory,
)

__all__ = ["finish_placing", "is_placing_unfinished", "place_database", "second_path", "work_path"]


def work_path(database: Path) -> Path:
    """Return the name of the copy that is tried on, beside the database."""
    return database.with_name(f".{database.name}.opening")


def second_path(database: Path) -> Path:
    """Return the name of the file that tables are copied into, beside the database."""
    return database.with_name(f".{database.name}.copied-tables")


def _plan_path(database: Path) -> Path:
    return database.with_name(database.name + ".placing")


def place_database(new: Path, database: Path, suffix: str) -> tuple[Path, ...]:
    """Give a finished, synced file without a WAL the database's name; return the old files' names.

    The old files get ``NAME.suffix``; ``free_suffix`` chose it, so that no file has such a name. At
    every moment there is a database of that name.
    """
    plan = _plan_path(database)
    with plan.open("x") as file:
        file.write(f"{new.name}\n{suffix}\n")
        file.flush()
        os.fsync(file.fileno())
    aside = tuple(path.with_name(f"{path.name}.{suffix}") for path in database_files(database))
    os.link(database, database.with_name(f"{database.name}.{suffix}"))
    sync_directory(database.parent)
    new.rename(database)  # from here on the plan is carried out, also by the next start
    sync_directory(database.parent)
    _finish_plan(database)
    return aside


def is_placing_unfinished(database: Path) -> bool:
    """Whether a killed process left what the next owner of the database carries out or undoes."""
    return _plan_path(database).exists()


def finish_placing(database: Path) -> None:
    """Carry out, or undo, what a killed process had begun, and remove the copies that it left.

    The owner of the database calls it before anything else.
    """
    _finish_plan(database)
    for path in (work_path(database), second_path(database)):
        remove_database(path)


def _finish_plan(database: Path) -> None:
    plan = _plan_path(database)
    try:
        text = plan.read_text()
    except FileNotFoundError:
        return
    new, _, rest = text.partition("\n")
    suffix = rest.strip()
    if not rest.endswith("\n") or database.with_name(new).exists():
        _undo(database, suffix)
    else:
        for path in side_files(database):
            if path.exists():
                rename_aside(path, path.with_name(f"{path.name}.{suffix}"))
    sync_directory(database.parent)
    plan.unlink()
    sync_directory(database.parent)


def _undo(database: Path, suffix: str) -> None:
    """Take the second name off the old file: the new one has not come."""
    aside = database.with_name(f"{database.name}.{suffix}")
    with contextlib.suppress(FileNotFoundError):
        if suffix and aside.samefile(database):
            aside.unlink()
