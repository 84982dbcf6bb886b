"""One CHECKPOINT of the engine, and what is asked of it around one. Each call runs in a worker thread.

No writer is inside the engine while one runs. DuckDB has them wait for its end anyway, and a checkpoint
moves rows: it merges row groups and drops empty ones. When it then fails before it has written the
header (a full disk), a DELETE or UPDATE that waited inside commits with the rows' new places, and a
replay on the old file applies it to other rows, without any error (1.5.5 and 2.0.1).
"""

from __future__ import annotations

import shutil

import duckdb

from chronoduck.engine.database import DuckDBInstance
from chronoduck.errors import DiskFullError, DuckDBException
from chronoduck.sql.engine_errors import translate

__all__ = [
    "commit_nothing",
    "free_in_file",
    "has_room",
    "no_room",
    "prepare_checkpoint",
    "run_checkpoint",
]

_NOTHING = "BEGIN; CREATE SCHEMA chronoduck_nothing; DROP SCHEMA chronoduck_nothing; COMMIT"
_WRITTEN_AGAIN = 64
_ENOUGH_FLOORS = 4
_OF_THE_FILE = (
    "SELECT {} * block_size FROM pragma_database_size() WHERE database_name = current_database()"
)


def run_checkpoint(instance: DuckDBInstance) -> None:
    """Run a CHECKPOINT. The caller keeps writers out of the engine until it has ended.

    Raises:
        DuckDBException: DuckDB refused, or it failed.
    """
    generation = instance.generation
    connection = instance.cursor()
    try:
        instance.prepare_checkpoint(connection)
        connection.execute("CHECKPOINT")
    except duckdb.Error as error:
        failure = translate(error)
        failure.__cause__ = error
        raise instance.judge(failure, generation, is_checkpoint=True) from error
    finally:
        connection.close()
    instance.damage.recheck()


def prepare_checkpoint(instance: DuckDBInstance) -> None:
    """Copy what a checkpoint overwrites, if the instance is open; else the checkpoint fails anyway."""
    try:
        connection = instance.cursor()
    except DuckDBException:
        return
    try:
        instance.prepare_checkpoint(connection)
    finally:
        connection.close()


def free_in_file(instance: DuckDBInstance) -> int:
    """Return the bytes of the file that hold nothing and that the next rows take.

    Raises:
        DuckDBException: DuckDB refused.
    """
    return ask_number(instance, _OF_THE_FILE.format("free_blocks"))


def no_room() -> DiskFullError:
    """Return the error of a checkpoint that may not fit."""
    return DiskFullError(
        "there may be too little space for a checkpoint",
        hint="Free space on the volume or enlarge it.",
    )


def commit_nothing(instance: DuckDBInstance) -> None:
    """Commit a transaction that is written and leaves nothing, so that a checkpoint has work.

    Raises:
        DuckDBException: DuckDB refused.
    """
    ask_number(instance, _NOTHING)


def has_room(instance: DuckDBInstance, log_bytes: int) -> bool:
    """Whether a checkpoint can write all that it may have to, in the space that is left; blocks.

    One that cannot ends the instance, and the next one does so again: nobody could read any more. It
    writes the rows of the WAL, and again what is left of a table of which much was deleted; each
    deleted row takes some bytes of the WAL. Some floors of free space are believed to be enough.
    """
    floor = instance.settings.disk_floor
    if not (floor and log_bytes):
        return True
    try:
        used = ask_number(instance, _OF_THE_FILE.format("used_blocks"))
        inside = free_in_file(instance)
        free = shutil.disk_usage(instance.settings.database_path.parent).free
    except (DuckDBException, OSError):
        return True  # who runs it finds out
    again = min(used, _WRITTEN_AGAIN * log_bytes, _ENOUGH_FLOORS * floor)
    return free + inside >= log_bytes + again


def ask_number(instance: DuckDBInstance, sql: str) -> int:
    """Return the first value of a statement, 0 when it has none.

    Raises:
        DuckDBException: DuckDB refused.
    """
    connection = instance.cursor()
    try:
        row = connection.execute(sql).fetchone()
        return int(row[0]) if row else 0
    except duckdb.Error as error:
        raise translate(error) from error
    finally:
        connection.close()
