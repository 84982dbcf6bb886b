"""A write-ahead log that DuckDB cannot replay, or would replay in part: found and set aside."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from chronoduck.engine.disk_format import WalCursor, WalDamage, find_damage, read_wal
from chronoduck.errors import DatabaseFailedError

__all__ = ["DamagedLogError", "QuarantineReport", "check_log", "quarantine_log", "stamp"]


class DamagedLogError(DatabaseFailedError):
    """The write-ahead log is damaged: opening the database would silently drop transactions."""

    code = "log_damaged"
    title = "The write-ahead log is damaged"
    retryable = False


@dataclass(frozen=True)
class QuarantineReport:
    """What was set aside, and what is lost with it."""

    file: Path
    kept_commits: int
    lost_commits: int
    """At least."""
    since: str
    """When the database file was written last: nothing older is lost."""
    until: str
    """When the log was written last."""

    def __str__(self) -> str:
        return (
            f"at least {self.lost_commits:,} transactions between {self.since} and {self.until} are "
            f"lost; {self.kept_commits:,} before the damage are kept; the log is in {self.file}"
        )


def stamp() -> str:
    """Return the time for a file's name."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def check_log(database: Path) -> None:
    """Check the log of a database that is not open.

    Raises:
        DamagedLogError: transactions in it would be dropped.
    """
    log = database.with_name(database.name + ".wal")
    if not log.exists():
        return
    if not database.exists():
        raise DamagedLogError(
            f"{log} is there, but {database} is not: its transactions would be dropped",
            hint="Put the database file back; or run `chronoduck recover`, which sets the log aside.",
        )
    damage = find_damage(log.read_bytes())
    if damage is not None:
        raise DamagedLogError(
            f"{log} is damaged at byte {damage.offset:,}: opening the database would silently drop "
            f"at least {damage.lost_commits:,} transactions behind it",
            hint="Run `chronoduck recover`; or start with DUCKDB_QUARANTINE_WAL=true to go on "
            "without them.",
        )


def quarantine_log(database: Path) -> QuarantineReport:
    """Set the log aside; what is complete before the damage becomes the new log.

    A log without damage that DuckDB refuses all the same is set aside whole.
    """
    log = database.with_name(database.name + ".wal")
    data = log.read_bytes()
    damage = find_damage(data) or WalDamage(0, WalCursor(), read_wal(data, WalCursor()).commits)
    aside = log.with_name(f"{log.name}.corrupt-{stamp()}")
    report = QuarantineReport(
        aside,
        damage.good.commits,
        damage.lost_commits,
        _iso(database.stat().st_mtime),
        _iso(log.stat().st_mtime),
    )
    log.rename(aside)
    if damage.good.commits:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data[: damage.good.offset])
            file.flush()
            os.fsync(file.fileno())
    return report


def _iso(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds")
