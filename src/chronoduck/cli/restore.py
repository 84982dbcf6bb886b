"""``chronoduck restore`` and ``chronoduck recover``: from the replica or a backup into a file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from chronoduck.backup.failures import BackupNotFoundError
from chronoduck.backup.restore import BackupRestoreReport, restore_backup
from chronoduck.cli.auditing import record_locally
from chronoduck.cli.output import console, errors, plain, print_json, print_table
from chronoduck.cli.progress import progress_bar
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
from chronoduck.replication.archive import Archive
from chronoduck.replication.failures import RestoreTargetError
from chronoduck.replication.local_state import LocalState
from chronoduck.replication.opening import find_archive, open_archive
from chronoduck.replication.recovery import RestoreReport, recover_database, restore_database
from chronoduck.replication.restore import estimate_seconds
from chronoduck.replication.restore_plan import (
    PointName,
    RestorePoint,
    list_points,
    plan_restore,
    time_text,
)
from chronoduck.settings import Settings
from chronoduck.storage import StoreError
from chronoduck.units import format_bytes, format_count, format_seconds, parse_seconds

__all__ = ["recover", "restore"]

_THREADS = 8
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
        _print_backup(report, as_json)
        return
    archive = find_archive(settings, source)
    if list_:
        _print_points(archive, as_json)
        return
    at = PointName.parse(to)
    to_us = None if at is not None else _time_us(to)
    if dry_run:
        _print_plan(archive, to_us, at, as_json)
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
    _print_replica(result, as_json)


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
        _print_backup(report, as_json)
    else:
        _print_replica(result, as_json, is_recovery=True)


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


def _print_points(archive: Archive, as_json: bool) -> None:
    listing = archive.listing()
    if not listing.blobs or (not listing.generations and archive.identity() is None):
        raise RestoreTargetError(
            f"there is no replica in {archive.url}",
            hint="Mount it, or check DUCKDB_REPLICA_URL and --from.",
        )
    if not listing.generations:
        errors.print(f"the replica in {plain(archive.url)} has no points yet", soft_wrap=True)
    with ThreadPoolExecutor(_THREADS) as executor:
        points = list_points(
            archive,
            listing,
            executor,
            lambda sentence: errors.print(f"not listed: {plain(sentence)}", soft_wrap=True),
        )
    points.sort(key=lambda point: point.order)
    _show_points(points, as_json)
    if listing.generations and all(point.lost for point in points):
        raise RestoreTargetError(
            f"no point in {archive.url} can be restored",
            hint="Mount the store, or check DUCKDB_REPLICA_URL and --from; `chronoduck verify` names "
            "what is missing.",
        )


def _show_points(points: list[RestorePoint], as_json: bool) -> None:
    if as_json:
        print_json([_point_facts(point) for point in points])
        return
    rows = [
        (
            time_text(point.time_us),
            point.commits,
            str(point.name),
            f"lost: {point.lost} is not there" if point.lost else point.proof,
            time_text(point.clock_us) if point.clock_us else "",
        )
        for point in points
    ]
    columns = ("time", "transactions", "point", "proof", "clock")
    print_table(columns, rows, numeric=(False, True, False, False, False))


def _point_facts(point: RestorePoint) -> dict[str, Any]:
    return {
        "time": time_text(point.time_us),
        "transactions": point.commits,
        "generation": point.generation,
        "point": str(point.name),
        "proof": (not point.lost and point.proof) or None,
        "lost": point.lost or None,
        "clock": time_text(point.clock_us) if point.clock_us else None,
    }


def _print_plan(archive: Archive, to_us: int | None, at: PointName | None, as_json: bool) -> None:
    with ThreadPoolExecutor(_THREADS) as executor:
        plan = plan_restore(archive, archive.listing(), executor, to_us, at)
        seconds = estimate_seconds(archive, plan, executor)
    facts: dict[str, Any] = {
        "time": time_text(plan.point.time_us),
        "point": str(plan.point.name),
        "proof": plan.point.proof or None,
        "warnings": list(plan.warnings),
        "transactions": plan.point.commits,
        "download_bytes": plan.download_bytes,
        "file_bytes": plan.file_bytes,
        "packs": len(plan.packs),
        "segments": len(plan.segments),
        "estimated_seconds": round(seconds, 1),
    }
    if as_json:
        print_json(facts)
        return
    _warn(plan.warnings)
    console.print(f"point in time  {facts['time']}, {facts['transactions']:,} transactions")
    console.print(
        f"download       {format_bytes(plan.download_bytes)} in {facts['packs']} packs and "
        f"{facts['segments']} pieces of the log"
    )
    console.print(f"database file  {format_bytes(plan.file_bytes)}")
    console.print(f"it takes about {format_seconds(seconds)}, and the time to verify")


def _warn(warnings: tuple[str, ...]) -> None:
    for sentence in warnings:
        errors.print(f"[yellow]warning:[/] {plain(sentence)}", soft_wrap=True)


def _print_replica(report: RestoreReport, as_json: bool, *, is_recovery: bool = False) -> None:
    facts = {
        "output": report.output,
        "time": report.time,
        "transactions": report.transactions,
        "point": str(report.plan.point.name),
        "proof": report.plan.point.proof or None,
        "warnings": list(report.plan.warnings),
        "from_local_log": report.local.grafted,
        "not_continuing": report.local.unrelated,
        "lost_transactions": _lost_transactions(report) if is_recovery else None,
        "lost": _loss(report) if is_recovery else "",
        "replica_damage": report.damage,
        "way": report.opening.way,
        "left_out": report.opening.lost,
        "rest": report.opening.rest,
        "set_aside": list(report.set_aside),
        "seconds": round(report.seconds, 3),
        "rows": None if report.inspection is None else report.inspection.rows,
    }
    if not as_json:
        _warn(report.plan.warnings)
    _print_report(facts, as_json)


def _lost_transactions(report: RestoreReport) -> int | None:
    lost = report.local.lost
    return None if lost is None else lost + report.opening.lost


def _loss(report: RestoreReport) -> str:
    """Say what is not in the restored database, in time and transactions."""
    lost = report.local.lost
    if report.opening.lost:
        return f"the last {report.opening.lost:,} transactions, which DuckDB cannot replay" + (
            f", and at least {lost:,} after them" if lost else ""
        )
    if lost == 0 and report.damage:
        return f"what was committed after {report.time}, but for what the local log held"
    if lost is None and report.local.unrelated:
        count = format_count(report.local.unrelated, "transaction")
        return (
            f"what was committed after {report.time}; the local WAL, which is set aside, holds {count} "
            "that do not continue this point"
        )
    if lost is None:
        return f"what was committed after {report.time}: there is no log of it"
    if lost:
        return f"at least {lost:,} transactions, committed after {report.time}"
    return "nothing that the replica or the local WAL held"


def _print_backup(report: BackupRestoreReport, as_json: bool) -> None:
    facts = {
        "output": report.output,
        "time": report.taken_at,
        "set_aside": list(report.set_aside),
        "seconds": round(report.seconds, 3),
        "rows": None if report.inspection is None else report.inspection.rows,
    }
    _print_report(facts, as_json)


def _print_report(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    console.print(
        f"restored {facts['output']} as of {facts['time']} in {format_seconds(facts['seconds'])}",
        soft_wrap=True,
    )
    if facts.get("transactions") is not None:
        console.print(
            f"  {facts['transactions']:,} transactions, "
            f"{facts['from_local_log']:,} of them from the local log"
        )
    if facts.get("replica_damage"):
        console.print(
            f"  newer points are not whole: {facts['replica_damage']}", soft_wrap=True, style="red"
        )
    if facts.get("lost"):
        console.print(f"  lost: {plain(facts['lost'])}", soft_wrap=True)
    if facts["rows"] is not None:
        console.print(f"  verified: {facts['rows']:,} rows")
    if facts.get("way") not in (None, "plain"):
        console.print(f"  opened another way: {facts['way']}")
    if facts.get("rest"):
        console.print(f"  what was left out: {plain(facts['rest'])}", soft_wrap=True)
    for path in facts["set_aside"]:
        console.print(f"  set aside: {plain(path)}", soft_wrap=True)
