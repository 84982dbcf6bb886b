"""The restore drill: the newest point restored elsewhere, read to the last column, and timed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from chronoduck.errors import DuckDBException
from chronoduck.replication.archive import Archive
from chronoduck.replication.recovery import restore_database
from chronoduck.settings import Settings
from chronoduck.storage.durable_write import write_durably

__all__ = ["DrillRecord", "note_failure", "run_drill"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class DrillRecord:
    """How a drill went."""

    at: str
    succeeded: bool
    seconds: float
    """From the first look at the replica to a file that was read to its last column."""
    time: str = ""
    """The point that was restored."""
    proof: str = ""
    """What a copy of the database had shown of that point before: ``proven``, ``replayed``."""
    transactions: int = 0
    bytes: int = 0
    """Of the restored file."""
    tables: int = 0
    rows: int = 0
    error: str = ""
    """The error's code."""
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON fields."""
        return asdict(self)

    @classmethod
    def read(cls, database: Path) -> DrillRecord | None:
        """Return the last drill of this database, None when there was none."""
        with contextlib.suppress(OSError, orjson.JSONDecodeError, TypeError):
            return cls(**orjson.loads(_record_path(database).read_bytes()))
        return None


def _record_path(database: Path) -> Path:
    return database.with_name(database.name + ".drill")


def run_drill(
    archive: Archive,
    settings: Settings,
    scratch: Path,
    on_progress: Progress = lambda what, done, total: None,
) -> DrillRecord:
    """Restore the newest point into ``scratch``, verify it, and note beside the database how it went.

    Raises:
        DuckDBException: the replica cannot be restored; noted too.
    """
    output = scratch / "database.db"
    started, began = datetime.now(UTC), time.monotonic()
    try:
        report = restore_database(
            archive,
            output,
            verify="full",
            newer_engine=settings.newer_engine,
            seconds=settings.deadline.opening,
            on_progress=on_progress,
        )
    except DuckDBException as error:
        seconds = time.monotonic() - began
        note_failure(settings.database_path, started, seconds, error.code, error.operator_detail)
        raise
    inspection = report.inspection
    assert inspection is not None  # noqa: S101 - it was verified
    record = DrillRecord(
        _iso(started),
        True,
        round(report.seconds, 3),
        time=report.time,
        proof=report.plan.point.proof,
        transactions=report.plan.point.commits,
        bytes=output.stat().st_size,
        tables=len(inspection.tables),
        rows=inspection.rows,
    )
    _note(settings.database_path, record)
    return record


def note_failure(
    database: Path, started: datetime, seconds: float, code: str, detail: str
) -> DrillRecord:
    """Note a drill that failed, or whose process could not say so itself; return what was noted."""
    record = DrillRecord(_iso(started), False, round(seconds, 3), error=code, detail=detail)
    _note(database, record)
    return record


def _note(database: Path, record: DrillRecord) -> None:
    write_durably(_record_path(database), [orjson.dumps(record.as_dict())])


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
