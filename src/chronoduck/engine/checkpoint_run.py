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
from chronoduck.errors import DuckDBException
from chronoduck.sql.engine_errors import translate

__all__ = ["ask_number", "has_room", "prepare_checkpoint", "run_checkpoint"]

_WRITTEN_AGAIN = 64
_USED_BYTES = "SELECT used_blocks * block_size FROM pragma_database_size()"
_FREE_BYTES = "SELECT free_blocks * block_size FROM pragma_database_size()"


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


def has_room(instance: DuckDBInstance, log_bytes: int) -> bool:
    """Whether a checkpoint can write what is left of tables that lost rows, in little space; blocks.

    One that cannot ends the instance, and the next one does so again: nobody could read any more. It
    writes a table again of which much was deleted: half of the database at most, about, and a deleted
    row takes some bytes of the WAL.
    """
    try:
        used, inside = ask_number(instance, _USED_BYTES), ask_number(instance, _FREE_BYTES)
        free = shutil.disk_usage(instance.settings.database_path.parent).free
    except (DuckDBException, OSError):
        return False
    return free + inside >= min(used // 2, _WRITTEN_AGAIN * log_bytes)


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
