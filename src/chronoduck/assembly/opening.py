"""The way from files on a disk to an open instance: checked, compared with the replica, mended."""

from __future__ import annotations

import asyncio

from chronoduck.engine.database import DuckDBInstance
from chronoduck.engine.quarantine import DamagedLogError, check_log, quarantine_log
from chronoduck.errors import (
    DatabaseFailedError,
    DatabaseFormatError,
)
from chronoduck.logs import get_logger
from chronoduck.replication.failures import ReplicaMismatchError
from chronoduck.replication.link import ReplicatorLink
from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import restore_database

__all__ = ["open_instance"]

_log = get_logger("service")
_DAMAGED = (DatabaseFailedError, DatabaseFormatError, ReplicaMismatchError)


async def open_instance(instance: DuckDBInstance) -> ReplicatorLink | None:
    """Open the instance and return its replicator, which waits for ``begin``.

    With ``DUCKDB_AUTO_RECOVER`` a damaged or missing database is restored from the replica; with
    ``DUCKDB_QUARANTINE_WAL`` a damaged log is set aside. Otherwise neither is touched.

    Raises:
        DuckDBConnectionError: one of its subclasses; the hint tells what to do.
    """
    await asyncio.to_thread(instance.take)
    try:
        return await _open(instance)
    except BaseException:
        instance.ownership.release()
        raise


async def _open(instance: DuckDBInstance) -> ReplicatorLink | None:
    settings = instance.settings
    if not settings.auto_recover or settings.replica.url is None:
        return await _open_once(instance)
    try:
        return await _open_once(instance)
    except _DAMAGED as error:
        _log.error(
            "database_damaged", reason=error.operator_detail, action="restore from the replica"
        )
    await asyncio.to_thread(_recover, instance)
    return await _open_once(instance)


def _recover(instance: DuckDBInstance) -> None:
    settings = instance.settings
    report = restore_database(
        open_archive(settings), settings.database_path, replace="corrupt", graft=True
    )
    _log.warning(
        "database_recovered",
        until=report.time,
        transactions=report.transactions,
        lost_transactions=report.local.lost,
        seconds=round(report.seconds, 3),
        set_aside=[str(path) for path in report.set_aside],
    )


async def _open_once(instance: DuckDBInstance) -> ReplicatorLink | None:
    await asyncio.to_thread(_check_log, instance)
    link = await _prepare_replicator(instance)
    try:
        await asyncio.to_thread(_connect, instance)
    except BaseException:
        if link is not None:
            await link.stop(0.0)
        raise
    return link


async def _prepare_replicator(instance: DuckDBInstance) -> ReplicatorLink | None:
    if instance.settings.replica.url is None:
        return None
    link = ReplicatorLink(instance.settings)
    await link.prepare()
    return link


def _check_log(instance: DuckDBInstance) -> None:
    path = instance.settings.database_path
    try:
        check_log(path)
    except DamagedLogError:
        if not path.exists() or not instance.settings.quarantine_wal:
            raise
        _quarantine(instance)


def _connect(instance: DuckDBInstance) -> None:
    """Open the file; a log that DuckDB refuses is set aside if the settings say so."""
    path = instance.settings.database_path
    try:
        instance.open()
    except DatabaseFailedError:
        log = path.with_name(path.name + ".wal")
        if not instance.settings.quarantine_wal or not log.exists():
            raise
        _quarantine(instance)
        instance.open()


def _quarantine(instance: DuckDBInstance) -> None:
    report = quarantine_log(instance.settings.database_path)
    _log.error("log_quarantined", detail=str(report))
