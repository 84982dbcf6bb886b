"""``chronoduck restore`` and ``chronoduck recover``: from the replica or a backup into a file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from chronoduck.backup.failures import BackupNotFoundError
from chronoduck.backup.restore import restore_backup
from chronoduck.cli.auditing import record_locally
from chronoduck.cli.output import console, plain, print_json
from chronoduck.cli.progress import progress_bar
from chronoduck.cli.restore_points import print_plan, print_points
from chronoduck.cli.restore_report import print_backup, print_replica
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    Target,
    find_target,
    owned,
    settings_for,
)
from chronoduck.engine.replacing import refuse_existing
from chronoduck.errors import InvalidRequestError
from chronoduck.replication.local_state import LocalState
from chronoduck.replication.opening import find_archive, open_archive
from chronoduck.replication.recovery import recover_database, restore_database
from chronoduck.replication.restore_plan import (
    PointName,
)
from chronoduck.settings import Settings
from chronoduck.storage import StoreError
from chronoduck.units import format_count, parse_seconds

__all__ = ["recover", "restore"]

_AGO = " ago"
SourceOption = Annotated[
    str | None,
    typer.Option("--from", help="A replica's address or a backup; default: DUCKDB_REPLICA_URL."),
]
VerifyOption = Annotated[
    Literal["none", "quick", "full"],
    typer.Option(help="quick opens the file and counts rows, full reads every column."),
]


def restore(
    to: Annotated[
        str,
        typer.Option(
            help="latest, a time: 2026-11-24T03:00:00Z (UTC without a zone), '10 minutes ago', or a "
            "point of --list."
        ),
    ] = "latest",
    source: SourceOption = None,
    output: Annotated[Path | None, typer.Option(help="A new file; default: the database.")] = None,
    table: Annotated[
        str | None, typer.Option(help="Restore this table alone, into a new table: see --into.")
    ] = None,
    into: Annotated[
        str | None, typer.Option(help="The new table's name; the service may be running.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the points in time.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show the plan only.")] = False,
    verify: VerifyOption = "quick",
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a point in time into a new file, or one table into a new table.

    Nothing is ever overwritten.
    """
    settings = settings_for(database)
    if table is not None or into is not None:
        _restore_table(settings, table, into, source=source, to=to, output=output, as_json=as_json)
        return
    target = output or settings.database_path
    backup = _as_backup(source)
    if backup is not None:
        if list_ or dry_run or to != "latest":
            raise InvalidRequestError(
                f"{backup} is a backup, which holds one moment",
                hint="--list, --dry-run and --to are for replicas; `chronoduck backup list` shows "
                "the moments.",
            )
        refuse_existing(target)
        with owned(target), progress_bar() as show:
            _record(settings, target, "restore", backup.name)
            report = restore_backup(
                backup,
                target,
                settings.backup,
                storage_version=settings.storage_version,
                verify=verify,
                on_progress=show,
            )
        print_backup(report, as_json)
        return
    archive = find_archive(settings, source)
    if list_:
        print_points(archive, as_json)
        return
    at = PointName.parse(to)
    to_us = None if at is not None else _time_us(to)
    if dry_run:
        print_plan(archive, to_us, at, as_json)
        return
    refuse_existing(target)
    with owned(target), progress_bar() as show:
        _record(settings, target, "restore", f"the replica at {to}")
        result = restore_database(
            archive,
            target,
            to_us=to_us,
            at=at,
            verify=verify,
            newer_engine=settings.newer_engine,
            seconds=settings.deadline.opening,
            on_progress=show,
        )
    print_replica(result, as_json)


def _restore_table(
    settings: Settings,
    table: str | None,
    into: str | None,
    *,
    source: str | None,
    to: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Restore a moment into a temporary file, and copy one table of it."""
    from chronoduck.cli.restored_table import restore_table  # noqa: PLC0415 - the whole service

    if table is None or into is None or output is not None:
        raise InvalidRequestError(
            "--table and --into belong together, and --output does not fit them",
            hint="chronoduck restore --to '10 minutes ago' --table pages --into pages_before",
        )
    backup = _as_backup(source)
    at = PointName.parse(to)
    with progress_bar() as show:

        def restore(path: Path) -> None:
            if backup is not None:
                restore_backup(
                    backup,
                    path,
                    settings.backup,
                    storage_version=settings.storage_version,
                    on_progress=show,
                )
                return
            restore_database(
                find_archive(settings, source),
                path,
                to_us=None if at is not None else _time_us(to),
                at=at,
                newer_engine=settings.newer_engine,
                seconds=settings.deadline.opening,
                on_progress=show,
            )

        target = find_target(settings.database_path, None, None)
        report = restore_table(target, table, into, restore)
    if as_json:
        print_json({"table": report.name, "rows": report.rows, "of": table, "to": to})
    else:
        console.print(
            f"{plain(report.name)}: {format_count(report.rows, 'row')}, as {plain(table)} had them at "
            f"{plain(to)}",
            soft_wrap=True,
        )


def recover(
    source: SourceOption = None,
    verify: VerifyOption = "full",
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set a damaged or lost database aside and restore the newest point, local tail included."""
    settings = settings_for(database)
    target = settings.database_path
    backup = _as_backup(source)
    with owned(target), progress_bar() as show:
        _record(settings, target, "recover", backup.name if backup else "the replica")
        if backup is not None:
            report = restore_backup(
                backup,
                target,
                settings.backup,
                storage_version=settings.storage_version,
                verify=verify,
                replace="corrupt",
                on_progress=show,
            )
            _note_for_replica(settings, target)
        else:
            result = recover_database(
                find_archive(settings, source),
                target,
                verify=verify,
                newer_engine=settings.newer_engine,
                seconds=settings.deadline.opening,
                on_progress=show,
            )
    if backup is not None:
        print_backup(report, as_json)
    else:
        print_replica(result, as_json, is_recovery=True)


def _record(settings: Settings, target: Path, kind: str, origin: str) -> None:
    """Tell the audit trail of the database when it is this one that is restored."""
    if target.absolute() == settings.database_path:
        record_locally(Target(None, given=settings).own_settings, f"{kind}_started", source=origin)


def _as_backup(source: str | None) -> Path | None:
    """Return the path when it is a backup's; a replica's directory has its own marks in it."""
    if source is None or "://" in source:
        return None
    path = Path(source)
    if not path.exists():
        raise BackupNotFoundError(f"{source} is not there: neither a backup nor a replica")
    return path if path.is_file() or (path / "manifest.json").exists() else None


def _note_for_replica(settings: Settings, database: Path) -> None:
    """Tell the next start that the file is meant to be older than the replica."""
    if settings.replica.url is None:
        return
    try:
        identity = open_archive(settings).identity()
    except StoreError:
        return
    if identity is not None:
        before = LocalState.read(database)
        LocalState.of_restored(identity, database, 0, 0, before).write(database)


def _time_us(text: str) -> int | None:
    if text == "latest":
        return None
    try:
        time = _ago(text) if text.endswith(_AGO) else datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequestError(
            f"--to {text} is neither a time nor a point",
            hint="Write it as 2026-11-24T03:00:00Z, '10 minutes ago', a point of --list, or latest.",
        ) from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    # The points are listed in milliseconds, and each must be found by what the list says.
    return int(time.timestamp() * 1000) * 1000 + 999


def _ago(text: str) -> datetime:
    """Return the time of ``10 minutes ago``, ``2h ago`` or ``1 day ago``."""
    number, _, unit = text.removesuffix(_AGO).strip().partition(" ")
    short = {"second": "s", "minute": "m", "hour": "h", "day": "d", "week": "w"}
    unit = short.get(unit.strip().removesuffix("s"), unit.strip())
    seconds = 7 * parse_seconds(f"{number}d") if unit == "w" else parse_seconds(number + unit)
    return datetime.now(UTC) - timedelta(seconds=seconds)
