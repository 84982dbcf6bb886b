"""The points of a replica, and the plan of a restore, as ``chronoduck restore`` shows them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from chronoduck.cli.output import console, errors, plain, print_json, print_table
from chronoduck.cli.restore_report import print_warnings
from chronoduck.replication.archive import Archive
from chronoduck.replication.failures import RestoreTargetError
from chronoduck.replication.restore import estimate_seconds
from chronoduck.replication.restore_plan import (
    PointName,
    RestorePoint,
    list_points,
    plan_restore,
    time_text,
)
from chronoduck.units import format_bytes, format_seconds

__all__ = ["print_plan", "print_points"]

_THREADS = 8


def print_points(archive: Archive, as_json: bool) -> None:
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
    print_table(columns, rows, numeric=(False, True, False, False, False), whole=("time", "point"))


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


def print_plan(archive: Archive, to_us: int | None, at: PointName | None, as_json: bool) -> None:
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
    print_warnings(plan.warnings)
    console.print(f"point in time  {facts['time']}, {facts['transactions']:,} transactions")
    console.print(
        f"download       {format_bytes(plan.download_bytes)} in {facts['packs']} packs and "
        f"{facts['segments']} pieces of the log"
    )
    console.print(f"database file  {format_bytes(plan.file_bytes)}")
    console.print(f"it takes about {format_seconds(seconds)}, and the time to verify")
