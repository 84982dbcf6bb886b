"""What was restored, and what is lost, as ``chronoduck restore`` and ``recover`` show it."""

from __future__ import annotations

from typing import Any

from chronoduck.backup.restore import BackupRestoreReport
from chronoduck.cli.output import console, errors, plain, print_json
from chronoduck.replication.recovery import RestoreReport
from chronoduck.units import format_count, format_seconds

__all__ = ["print_backup", "print_replica", "print_warnings"]


def print_warnings(warnings: tuple[str, ...]) -> None:
    for sentence in warnings:
        errors.print(f"[yellow]warning:[/] {plain(sentence)}", soft_wrap=True)


def print_replica(report: RestoreReport, as_json: bool, *, is_recovery: bool = False) -> None:
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
        print_warnings(report.plan.warnings)
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


def print_backup(report: BackupRestoreReport, as_json: bool) -> None:
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
