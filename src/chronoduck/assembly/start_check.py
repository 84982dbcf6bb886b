"""Would a start be refused? Answered by the functions that a start calls; the files stay as they are."""

from __future__ import annotations

import tempfile
from pathlib import Path

from chronoduck.assembly.authentication import check_credentials
from chronoduck.engine.database import DuckDBInstance
from chronoduck.engine.offline import (
    AttemptFailedError,
    Budget,
    Opening,
    Run,
    UnopenableError,
    Way,
    attempt,
    clone_database,
    is_placing_unfinished,
    open_by_ways,
)
from chronoduck.engine.paths import check_database_file
from chronoduck.engine.quarantine import check_headers, check_log
from chronoduck.engine.version_note import check_version_note
from chronoduck.errors import (
    DamagedLogError,
    DatabaseFailedError,
    DatabaseFormatError,
    DuckDBException,
)
from chronoduck.export import read_export_file
from chronoduck.replication.automatic import replica_holds_database
from chronoduck.replication.failures import LeaseHeldError, ReplicaMismatchError
from chronoduck.replication.link import refusal
from chronoduck.replication.shipped import find_held_wal
from chronoduck.replication.start_comparison import compare_without_writing
from chronoduck.settings import Settings
from chronoduck.sync import read_sync_file

__all__ = ["check_start"]


def check_start(settings: Settings, run: Run = attempt) -> list[str]:
    """Return what an operator should know of the next start; nothing is written.

    Call it when no process has the database. ``run`` replaces the child processes in tests.

    Raises:
        DuckDBException: the start would be refused with this error.
    """
    check_credentials(settings)
    read_sync_file(settings.sync_file)
    read_export_file(settings.export.file)
    instance = DuckDBInstance(settings)
    instance.check_settings()
    if is_placing_unfinished(settings.database_path):
        return [
            "a restore was broken off; a start finishes it first, so that the files were not checked"
        ]
    try:
        return _check_files(settings, f"{instance.budget.limit_bytes}B", run)
    except (DatabaseFailedError, DatabaseFormatError) as error:
        if settings.auto_recover and settings.replica.url is not None:
            error.hint = (
                "DUCKDB_AUTO_RECOVER is on: a start restores the replica's newest point if that loses "
                f"nothing. Else: {error.hint}"
            )
        raise


def _check_files(settings: Settings, memory_limit: str, run: Run) -> list[str]:
    path = settings.database_path
    if _restores_missing(settings):
        return [f"{path} is missing: a start restores it from the replica (DUCKDB_AUTO_RECOVER)"]
    check_database_file(path)
    check_version_note(path)
    check_headers(path)
    first = None
    try:
        check_log(path)
    except DamagedLogError as error:
        if not path.exists() or not settings.quarantine_wal:
            raise
        first = error.operator_detail
    if first is not None:
        return _open_by_ways(settings, first, memory_limit, run)
    notes = [] if settings.replica.url is None else _compare(settings)
    if path.exists():
        notes += _open(settings, memory_limit, run)
    return notes


def _restores_missing(settings: Settings) -> bool:
    if not settings.auto_recover or settings.replica.url is None or settings.database_path.exists():
        return False
    return replica_holds_database(settings)


def _compare(settings: Settings) -> list[str]:
    try:
        foreseen = compare_without_writing(settings)
    except (LeaseHeldError, ReplicaMismatchError):
        raise
    except DuckDBException as error:
        raise refusal(error.code, error.operator_detail, error.hint) from error
    if foreseen.failure is not None:
        return [f"a start does not wait for the replica: {foreseen.failure.operator_detail}"]
    return [foreseen.notice] if foreseen.notice else []


def _open(settings: Settings, memory_limit: str, run: Run) -> list[str]:
    """Open the database read-only in a child, and a copy by the other ways if that fails."""
    path, seconds = settings.database_path, settings.deadline.opening
    try:
        run("open", path, Budget.of(path, seconds), memory_limit=memory_limit, read_only=True)
    except AttemptFailedError as error:
        return _open_by_ways(settings, error.detail, memory_limit, run)
    return []


def _open_by_ways(settings: Settings, first: str, memory_limit: str, run: Run) -> list[str]:
    path = settings.database_path
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=path.parent) as directory:
        copy = Path(directory, path.name)
        clone_database(path, copy)
        opening = _try_ways(settings, copy, first, memory_limit, run)
    if opening.way is Way.SHORTENED:
        kept = f"a start keeps {opening.kept:,} transactions of the WAL"
        return [f"{first}; {kept} and puts {opening.lost:,} into a file (DUCKDB_QUARANTINE_WAL)"]
    return [f"{first}; a start opens it by another way ({opening.way}), without a loss"]


def _try_ways(settings: Settings, copy: Path, first: str, memory_limit: str, run: Run) -> Opening:
    path = settings.database_path
    try:
        return open_by_ways(
            copy,
            first,
            checkpoint=False,
            may_shorten=settings.quarantine_wal,
            newer_engine=settings.newer_engine,
            seconds=settings.deadline.opening,
            memory_limit=memory_limit,
            held=find_held_wal(settings),
            run=run,
        )
    except UnopenableError as error:
        error.detail = error.detail.replace(str(copy), str(path))
        error.operator_detail = error.operator_detail.replace(str(copy), str(path))
        raise
