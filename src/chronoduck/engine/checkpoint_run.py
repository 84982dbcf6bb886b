"""One CHECKPOINT of the engine, and what is asked of it around one. Each call runs in a worker thread.

No writer is inside the engine while one runs. DuckDB has them wait for its end anyway, and a checkpoint
moves rows: it merges row groups and drops empty ones. When it then fails before it has written the
header (a full disk), a DELETE or UPDATE that waited inside commits with the rows' new places, and a
replay on the old file applies it to other rows, without any error (1.5.5 and 2.0.1).
"""

from __future__ import annotations

import duckdb

from chronoduck.engine.checkpoint_room import ask_number
from chronoduck.engine.database import DuckDBInstance
from chronoduck.errors import DuckDBException
from chronoduck.sql.engine_errors import translate

__all__ = ["commit_nothing", "prepare_checkpoint", "run_checkpoint"]

_NOTHING = "BEGIN; CREATE SCHEMA chronoduck_nothing; DROP SCHEMA chronoduck_nothing; COMMIT"


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


def commit_nothing(instance: DuckDBInstance) -> None:
    """Commit a transaction that is written and leaves nothing, so that a checkpoint has work.

    Raises:
        DuckDBException: DuckDB refused.
    """
    ask_number(instance, _NOTHING)
