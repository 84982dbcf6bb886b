"""One CHECKPOINT of the engine, and what is asked of it around one. Each call runs in a worker thread.

A checkpoint also *vacuums*: it moves the rows behind deleted ones. From then on a DELETE or UPDATE that
waited for it names rows by their new places. When the checkpoint then fails before it has written the
header (a full disk), DuckDB lets that statement commit all the same, and a replay on the old file applies
it to other rows, without any error (1.5.5 and 2.0.1). So rows move only while no writer is inside.
"""

from __future__ import annotations

import time
from contextlib import suppress

import duckdb

from chronoduck.engine.database import VACUUM_SETTING, DuckDBInstance
from chronoduck.engine.failures import translate
from chronoduck.errors import DuckDBException

__all__ = ["ask_number", "prepare_checkpoint", "run_checkpoint"]


def run_checkpoint(instance: DuckDBInstance, vacuums: bool) -> float:
    """Run one; return its seconds. ``vacuums``: nobody writes before it has ended, so rows may move.

    Raises:
        DuckDBException: DuckDB refused, or it failed.
    """
    started = time.perf_counter()
    connection = instance.cursor()
    try:
        instance.prepare_checkpoint(connection)
        if vacuums:
            connection.execute(f"RESET GLOBAL {VACUUM_SETTING}")
        connection.execute("CHECKPOINT")
    except duckdb.Error as error:
        failure = translate(error)
        failure.__cause__ = error
        raise instance.damage.judge(failure) from error
    finally:
        with suppress(duckdb.Error):  # it has ended the instance; the next one begins with 0
            connection.execute(f"SET GLOBAL {VACUUM_SETTING} = 0")
        connection.close()
    instance.damage.recheck()
    return time.perf_counter() - started


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
