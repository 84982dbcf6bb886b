"""``chronoduck verify``: is a database, a backup or a replica what was written?"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from chronoduck.backup.verification import verify_backup
from chronoduck.cli.jobs import follow_job
from chronoduck.cli.output import console, plain, print_json
from chronoduck.cli.progress import progress_bar
from chronoduck.cli.target import DatabaseOption, JsonOption, Target, find_target, owned
from chronoduck.engine.inspection import refuse_damaged_indexes
from chronoduck.engine.offline import find_poisoned, read_database
from chronoduck.engine.paths import is_database_file
from chronoduck.engine.quarantine import check_headers, check_log
from chronoduck.engine.quarantined import QuarantineList
from chronoduck.replication.failures import ReplicaDamagedError
from chronoduck.replication.opening import find_archive
from chronoduck.replication.records import REPLICA_NAME
from chronoduck.replication.verification import ReplicaVerification, verify_replica
from chronoduck.settings import Settings
from chronoduck.units import format_bytes

__all__ = ["verify"]

_THREADS = 8


def verify(
    subject: Annotated[
        str | None,
        typer.Argument(
            help="A database file, a backup, a replica's address; default: the database."
        ),
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a database, a backup or a replica to its last byte, and compare it with what was noted."""
    target = find_target(database, None, None)
    path = target.settings.database_path if subject is None else Path(subject)
    if subject is not None and ("://" in subject or (path / REPLICA_NAME).is_file()):
        facts = _verify_replica(target.settings, subject)
    elif is_database_file(path) or subject is None:
        facts = _verify_database(target, path)
    else:
        with progress_bar() as show:
            inspection = verify_backup(
                path, target.settings.backup, Path(tempfile.gettempdir()), on_progress=show
            )
        facts = {"tables": len(inspection.tables), "rows": inspection.rows}
    if as_json:
        print_json({"subject": str(subject or path), **facts})
    elif "packs" in facts:
        console.print(
            f"{subject} is whole{' but for what is noted as lost' if facts['noted'] else ''}: "
            f"{facts['generations']} generations, {facts['packs']} packs, "
            f"{format_bytes(facts['bytes'])}",
            soft_wrap=True,
        )
        for sentence in facts["noted"]:
            console.print(f"  lost: {plain(sentence)}", soft_wrap=True)
    else:
        console.print(
            f"{path} is whole: {facts['rows']:,} rows in {facts['tables']} tables", soft_wrap=True
        )
        for column in facts.get("quarantined", ()):
            console.print(
                f"  quarantined: {plain(column)} holds values that end the engine; statements that name "
                "its table are refused until it is dropped and verify has run again",
                soft_wrap=True,
            )


def _verify_database(target: Target, path: Path) -> dict[str, Any]:
    """Read the file; the service reads a copy of its own, whose file nobody else may open."""
    with progress_bar() as show:
        if target.service is not None and path.absolute() == target.settings.database_path:
            job = target.service.call("POST", "/verify")
            return follow_job(target.service, job, show)
        with owned(path):
            check_headers(path)
            check_log(path)
            inspection = read_database(
                path,
                full=True,
                seconds=target.settings.deadline.opening,
                on_progress=lambda done, total: show("verifying", done, total),
            ).inspection
            refuse_damaged_indexes(path, inspection)
            poisoned = find_poisoned(path, seconds=target.settings.deadline.opening)
            quarantined = [column.name for column in poisoned.columns]
            QuarantineList(path).write(quarantined, poisoned.names)
    facts = {"tables": len(inspection.tables), "rows": inspection.rows}
    return facts | ({"quarantined": quarantined} if quarantined else {})


def _verify_replica(settings: Settings, url: str) -> dict[str, Any]:
    archive = find_archive(settings, url)
    with ThreadPoolExecutor(_THREADS) as executor, progress_bar() as show:
        found = verify_replica(archive, executor, show)
    if found.damages:
        generations = ", ".join(found.damaged_generations) or "none"
        raise ReplicaDamagedError(
            f"{len(found.damages)} things in {archive.url} are not what was shipped, the first: "
            f"{found.damages[0]}; generations that cannot be restored to their end: {generations}",
            hint=_hint(found),
        )
    return {
        "generations": found.generations,
        "packs": found.packs,
        "bytes": found.bytes,
        "noted": list(found.noted),
    }


def _hint(found: ReplicaVerification) -> str:
    if found.is_newest_whole:
        return (
            f"Look at chronoduck restore --list: it marks the points that are lost. The newest "
            f"generation, {found.newest}, is whole, so that nothing need be shipped again. To take note "
            "of the loss, stop the service and run `chronoduck replication adopt`."
        )
    return (
        "Restart the service: it looks for what the newest point lacks, and ships it again. Other points "
        "can be restored: chronoduck restore --list."
    )
