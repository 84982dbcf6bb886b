"""What is known of a start: whether the WAL as it is now can be replayed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from chronoduck.monitoring.durability import DAMAGED_HINT
from chronoduck.monitoring.health import Finding, Status

__all__ = ["do_first", "shadow_finding", "shadow_report"]

_DO_NOT_RESTART = "Do not restart the service. Run `chronoduck runbook wal-not-replayable`."


def shadow_report(status: dict[str, Any]) -> dict[str, Any]:
    """Return the shadow's part of ``GET replication``; empty while the database is closed."""
    if not status:
        return {}
    return {
        "state": status["state"],
        "verdict": status["verdict"],
        "reason": status["reason"],
        "replayed_until": _position(status["replayed"]),
        "proven_until": _position(status["proven"]),
        "refuted_at": _position(status["refuted"]),
        "cpu_share": status["cpu_share"],
        "attempts": status["attempts"],
        "failures": status["failures"],
        "unproven_tails": status["unproven_tails"],
        "copy_bytes": status["copy_bytes"],
        "proof_seconds": status["proof_seconds"],
        "restarts": status["restarts"],
        "acknowledging": dict(status["acknowledging"]),
    }


def do_first(status: dict[str, Any]) -> str:
    """Return what comes before everything else while only the running process has all data."""
    must_save = status and (status["saving"]["refusing"] or status["refuted"] is not None)
    return _DO_NOT_RESTART if must_save else ""


def shadow_finding(status: dict[str, Any]) -> Finding:
    """Judge whether a start would survive; what is not known is no fault of the data."""
    if status and status["saving"]["refusing"] and status["refuted"] is None:
        return Finding("shadow", Status.UNHEALTHY, _refusing(status["saving"]), _DO_NOT_RESTART)
    if not status or status["state"] == "off":
        reason = f"Nothing checks whether the WAL can be replayed{_unproven(status)}"
        return Finding("shadow", Status.HEALTHY, reason)
    if status["refuted"] is not None:
        return Finding("shadow", Status.UNHEALTHY, _refuted(status["saving"]), _DO_NOT_RESTART)
    if status["file_damage"]:
        return Finding(
            "shadow",
            Status.DEGRADED,
            "Whether the WAL can be replayed is not judged: the file itself is damaged",
            DAMAGED_HINT,
        )
    if status["state"] == "no_space":
        return Finding(
            "shadow",
            Status.DEGRADED,
            "Nothing checks whether the WAL can be replayed: the copy for it does not fit on the disk"
            f"{_unproven(status)}",
            "Free space. DUCKDB_SHADOW_DIR names another volume from the next start on.",
        )
    if status["state"] == "failing" or (status["verdict"] == "not_judged" and status["failures"]):
        return Finding(
            "shadow",
            Status.DEGRADED,
            "Whether the WAL can be replayed could not be judged",
            "`chronoduck replication status --json` says why; nothing is known to be wrong.",
        )
    proven = _position(status["proven"])
    return Finding("shadow", Status.HEALTHY, f"Proven until {proven['time']}" if proven else "")


def _unproven(status: dict[str, Any]) -> str:
    count = status["acknowledging"]["unproven"] if status else 0
    return f"; {count:,} writes were acknowledged without a proof" if count else ""


def _refuted(saving: dict[str, Any]) -> str:
    reason = "A restart would fail: the WAL cannot be replayed"
    return f"{reason}. {_refusing(saving)}" if saving["refusing"] else reason


def _refusing(saving: dict[str, Any]) -> str:
    copied = "a verified copy was made" if saving["is_copied"] else "there is no copy yet"
    return f"Writes are refused: {saving['refusing']}; {copied}"


def _position(mark: dict[str, Any] | None) -> dict[str, Any] | None:
    if mark is None:
        return None
    time = datetime.fromtimestamp(mark["time_us"] / 1e6, UTC).isoformat(timespec="milliseconds")
    return {
        "time": time,
        "iteration": mark["iteration"],
        "offset": mark["offset"],
        "transactions": mark["commits"],
    }
