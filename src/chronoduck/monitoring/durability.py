"""How safe the data is now: what the replica holds, what is not in it yet, when the log is folded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from chronoduck.monitoring.health import Finding, Status
from chronoduck.units import format_bytes

__all__ = [
    "DAMAGED_HINT",
    "backup_finding",
    "checkpoint_finding",
    "damaged_blocks",
    "drill_finding",
    "file_finding",
    "replica_finding",
    "replica_report",
]

DAMAGED_HINT = "Run `chronoduck runbook database-corrupt`."
"""All findings about a damaged file say this, so that none sends anybody elsewhere."""
_LAG_WARN_SECONDS = 60.0
_LAG_BAD_SECONDS = 3600.0
"""The platform's recovery point objective."""


def replica_report(
    status: dict[str, Any], checkpoints: dict[str, Any], drills: dict[str, Any]
) -> dict[str, Any]:
    """Return what `GET replication` answers, of the replicator's status; sizes in bytes, times in s."""
    if not status:
        return {
            "enabled": False,
            "sentence": "There is no replica: set DUCKDB_REPLICA_URL. A lost disk loses everything "
            "since the last backup.",
            "checkpoints": checkpoints,
        }
    return {
        "enabled": True,
        "sentence": _sentence(status, drills),
        "state": status["state"],
        "error": status["error"],
        "hint": status["hint"],
        "lag_seconds": _lag(status),
        "lag_bytes": status["unshipped_bytes"],
        "last_restore_point": _time(status["last_point_us"]),
        "caught_up_at": _time(status["caught_up_us"]),
        "transactions": status["commits"],
        "generation": status["generation"] or None,
        "generations": status["generations"],
        "progress": {"done": status["progress_done"], "total": status["progress_total"]},
        "store": {
            "bytes": status["store_bytes"],
            "shipped_bytes": status["shipped_bytes"],
            "requests": status["requests"],
            "failures": status["failures"],
        },
        "scrub": {
            "last_round": _time(status["scrubbed_us"]),
            "share": round(status["scrub_share"], 4),
            "damaged_blocks": status["damaged_blocks"],
        },
        "proven_until": _time(status["proven_us"]),
        "replayed_until": _time(status["replayed_us"]),
        "notice": status["notice"],
        "store_scrub": {
            "last_round": _time(status["store_scrubbed_us"]),
            "share": round(status["store_scrub_share"], 4),
        },
        "retention_error": status["retention_error"],
        "restarts": status["restarts"],
        "drill": {
            "next_at": drills.get("next_at"),
            # What went wrong names hosts and paths: it is in the log and in GET jobs.
            "last": _without_detail(drills.get("last")),
        },
        "checkpoints": checkpoints,
    }


def replica_finding(status: dict[str, Any]) -> Finding:
    """Judge the replica; a missing one is the operator's choice and no fault."""
    if not status:
        return Finding("replica", Status.HEALTHY, "There is no replica")
    lag = _lag(status)
    if status["state"] == "refused":
        return Finding(
            "replica",
            Status.UNHEALTHY,
            "The replica is not written any more: another service writes it, or files disagree",
            "Run `chronoduck replication status`, which tells why.",
        )
    if status["is_gone"]:
        return Finding(
            "replica",
            Status.UNHEALTHY if lag is not None and lag > _LAG_BAD_SECONDS else Status.DEGRADED,
            "The replica is not in its place: a lost disk loses everything since the last backup",
            "Mount it again, or begin a new one: `chronoduck replication status` tells how.",
        )
    if status["state"] == "failing" or lag is None or lag > _LAG_WARN_SECONDS:
        if status["state"] == "syncing" or (lag is None and status["state"] == "starting"):
            return Finding("replica", Status.HEALTHY)
        behind = "has never caught up" if lag is None else f"is {lag:.0f} s behind"
        return Finding(
            "replica",
            Status.UNHEALTHY if lag is not None and lag > _LAG_BAD_SECONDS else Status.DEGRADED,
            f"The replica {behind}" + (": its store fails" if status["state"] == "failing" else ""),
            "Run `chronoduck replication status`; it catches up by itself once the store answers.",
        )
    if status["notice"]:
        return Finding(
            "replica",
            Status.DEGRADED,
            "The replica's store has lost or spoilt something: points in time may be gone",
            "Run `chronoduck replication status`, which tells what; `chronoduck verify` reads all of it.",
        )
    if status["retention_error"]:
        return Finding(
            "replica",
            Status.DEGRADED,
            "Old points of the replica are not deleted, and it grows",
            "`chronoduck replication status` tells why; `chronoduck verify` what is damaged.",
        )
    proven = _time(status["proven_us"])
    return Finding("replica", Status.HEALTHY, f"Proven to open until {proven}" if proven else "")


def damaged_blocks(status: dict[str, Any], file: dict[str, Any], shadow: dict[str, Any]) -> int:
    """Return how many blocks of the file are known to be damaged, whoever found them.

    The scrub reads all blocks, statements and checkpoints those that they need, the shadow its copy's.
    """
    return max(
        status["damaged_blocks"] if status else 0,
        file["blocks"] if file else 0,
        shadow["damaged_blocks"] if shadow else 0,
    )


def file_finding(status: dict[str, Any], damaged: int, first: str = "") -> Finding:
    """Judge whether the database file has the bytes that were written.

    ``first``: what has to be done before anything else, because a start would fail.
    """
    if not damaged:
        last = _time(status["scrubbed_us"]) if status else None
        return Finding(
            "file", Status.HEALTHY, f"All blocks were read last at {last}" if last else ""
        )
    return Finding(
        "file",
        Status.UNHEALTHY,
        f"{damaged:,} block{'' if damaged == 1 else 's'} of the database file "
        f"{'is' if damaged == 1 else 'are'} damaged or missing",
        first or DAMAGED_HINT,
    )


def checkpoint_finding(checkpoints: dict[str, Any], damaged: int = 0) -> Finding:
    """Judge whether the WAL is taken into the file as it should; ``damaged``: blocks of the file."""
    if checkpoints and checkpoints["hanging_seconds"] is not None:
        return Finding(
            "checkpoint",
            Status.UNHEALTHY,
            f"A checkpoint has been running for {checkpoints['hanging_seconds']:.0f} s and does not end",
            "Do not restart the service. Run `chronoduck runbook wal-not-replayable`.",
        )
    if not checkpoints or not checkpoints["last_error"]:
        return Finding("checkpoint", Status.HEALTHY)
    return Finding(
        "checkpoint",
        Status.DEGRADED,
        f"The WAL of {format_bytes(checkpoints['log_bytes'])} cannot be taken into the file",
        DAMAGED_HINT
        if damaged
        else "Nothing is lost. It is tried again; the service's log says why: checkpoint_failed.",
    )


def backup_finding(backups: dict[str, Any]) -> Finding:
    """Judge whether the last backup was made, and when it should have been."""
    if not backups or not backups["enabled"]:
        return Finding("backup", Status.HEALTHY, "No backups are made by this service")
    last = backups["last_success_at"]
    reason = f"The last backup is of {last}" if last else "No backup was made yet"
    if backups["last_error"]:
        reason = f"The last backup was not made ({backups['last_error']})"
    elif backups["is_overdue"]:
        reason = f"{reason}; two of the schedule's times have passed since"
    else:
        return Finding("backup", Status.HEALTHY, reason)
    return Finding(
        "backup",
        Status.DEGRADED,
        reason,
        "GET jobs tells why; `chronoduck backup create` makes one now.",
    )


def drill_finding(drills: dict[str, Any]) -> Finding:
    """Judge the last restore drill; none yet is no fault."""
    last = drills.get("last") if drills else None
    if last is None or last["succeeded"]:
        return Finding("drill", Status.HEALTHY)
    return Finding(
        "drill",
        Status.UNHEALTHY,
        f"The restore drill of {last['at']} failed ({last['error']}): the replica may be no help",
        "Run `chronoduck drill`, which tells why; `chronoduck backup create` makes a second way back.",
    )


def _without_detail(last: dict[str, Any] | None) -> dict[str, Any] | None:
    return last and {name: value for name, value in last.items() if name != "detail"}


def _lag(status: dict[str, Any]) -> float | None:
    caught_up_us: int = status["caught_up_us"]
    if not caught_up_us:
        return None
    return round(max(0.0, datetime.now(UTC).timestamp() - caught_up_us / 1e6), 3)


def _sentence(status: dict[str, Any], drills: dict[str, Any]) -> str:
    if status["is_gone"]:
        return (
            "The replica is not in its place: if the disk died now you would lose everything since the "
            "last backup."
        )
    lag = _lag(status)
    if lag is None:
        return _before_first_round(status)
    sentence = f"If the disk died now you would lose at most the last {lag:.1f} s"
    last = drills.get("last")
    if last is None:
        return f"{sentence}; no restore was tried yet."
    if not last["succeeded"]:
        return f"{sentence}, but the restore drill of {last['at']} failed ({last['error']})."
    return f"{sentence}; the last restore drill took {last['seconds']:.1f} s."


def _before_first_round(status: dict[str, Any]) -> str:
    """Say what a lost disk would lose before everything was in the replica once since the start."""
    if status["state"] in ("failing", "refused"):
        return (
            "Nothing was shipped since the start, and the replica cannot be asked what it holds: a "
            "lost disk would lose everything that is not in it."
        )
    known = _time(status["last_point_us"])
    if known:
        return f"The replica is being compared: a lost disk would lose what came after {known}."
    return "The first copy is being made: a lost disk would lose everything before its end."


def _time(time_us: int) -> str | None:
    if not time_us:
        return None
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="milliseconds")
