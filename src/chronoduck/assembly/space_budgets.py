"""Budgets of disk space, as the settings have them: each on the volume that it is spent on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from chronoduck.engine.disk_guard import VolumeFloor
from chronoduck.errors import SpoolSpaceError
from chronoduck.resilience.space_budget import SpaceBudget
from chronoduck.settings import Settings
from chronoduck.units import format_bytes

__all__ = ["SpaceBudgets", "describe_space", "measure_space"]


class SpaceBudgets:
    """What may be written for users beside the database. `JobStore` has the budget of results."""

    def __init__(self, settings: Settings, spool_directory: Path) -> None:
        floor = settings.disk_floor
        check_spool = VolumeFloor(spool_directory, floor).check
        self.spools = SpaceBudget(
            settings.spool_space,
            lambda is_share: _spool_full(settings, is_share=is_share),
            share=settings.space_share,
            check_volume=check_spool,
        )
        """Results that wait for their end."""
        self.uploads = SpaceBudget(
            settings.upload_space,
            lambda is_share: _uploads_full(settings, is_share=is_share),
            share=settings.space_share,
            check_volume=check_spool,
        )
        """Uploads, and what is unpacked of them."""
        self.results: SpaceBudget | None = None
        """What jobs and exports keep; the store of jobs has it."""
        self.check_jobs = VolumeFloor(settings.jobs_path.parent, floor).check
        self.check_exports = VolumeFloor(_export_directory(settings), floor).check

    def by_name(self) -> dict[str, SpaceBudget]:
        """Return those that are counted by owner, as reports name them."""
        found = {"results": self.results, "spools": self.spools, "uploads": self.uploads}
        return {name: budget for name, budget in found.items() if budget is not None}

    def owners(self) -> set[str]:
        """Return who holds bytes of any of them, also files of earlier processes."""
        return {owner for budget in self.by_name().values() for owner in budget.owners()}

    def used_by(self, owner: str, *, is_capped: bool) -> dict[str, tuple[int, int]]:
        """Return what an owner holds and may hold of each, in bytes."""
        return {
            name: (budget.used_by(owner), budget.limit_of(is_capped=is_capped))
            for name, budget in self.by_name().items()
        }


def measure_space(settings: Settings) -> dict[str, int]:
    """Return the bytes of what is not counted while it is written; blocks."""
    spilled, log = settings.temp_directory, settings.query_log_path
    return {"query_log": _size(log), "spill": _spilled(spilled)}


def describe_space(
    settings: Settings, budgets: SpaceBudgets | None, measured: Mapping[str, int]
) -> dict[str, dict[str, int]]:
    """Return what every kind of files takes and may take, in bytes; a closed service holds nothing.

    ``measured``: what ``measure_space`` returned a moment ago.
    """
    limits = {
        "results": settings.job.space,
        "spools": settings.spool_space,
        "uploads": settings.upload_space,
    }
    counted = {} if budgets is None else budgets.by_name()
    found = {
        name: counted[name].get_status() if name in counted else _status(0, limit)
        for name, limit in limits.items()
    }
    found["query_log"] = _status(measured.get("query_log", 0), settings.query_log.space)
    found["spill"] = _status(measured.get("spill", 0), settings.max_temp_size or 0)
    return found


def _status(used: int, limit: int) -> dict[str, int]:
    return {"used_bytes": used, "limit_bytes": limit, "refused": 0}


def _size(path: Path) -> int:
    # stat only: opening and closing the file in this process would drop the engine's lock.
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _spilled(directory: Path) -> int:
    """Return what the engine's files for intermediate results take on the disk."""
    try:
        return sum(map(_size, directory.glob("duckdb_temp*")))
    except OSError:
        return 0


def _export_directory(settings: Settings) -> Path:
    """Return a directory that exists on the volume of exports; S3 has none, and they are written here."""
    url = settings.export.url
    if url is None or urlsplit(url).scheme:
        return settings.jobs_path.parent
    directory = Path(url).expanduser().absolute()
    while not directory.exists():
        directory = directory.parent
    return directory


def _spool_full(settings: Settings, *, is_share: bool) -> SpoolSpaceError:
    whose, size = _whose(settings, settings.spool_space, is_share=is_share)
    return SpoolSpaceError(
        f"the results that wait for their end take the {size} that {whose} may take",
        hint="Ask for JSON, NDJSON or Arrow, or leave max_rows out: then a result need not wait. POST "
        "jobs keeps a large one. An operator can raise DUCKDB_SPOOL_SPACE.",
    )


def _uploads_full(settings: Settings, *, is_share: bool) -> SpoolSpaceError:
    whose, size = _whose(settings, settings.upload_space, is_share=is_share)
    return SpoolSpaceError(
        f"uploads take the {size} that {whose} may take",
        hint="Send it again when others have ended. An operator can raise DUCKDB_UPLOAD_SPACE.",
    )


def _whose(settings: Settings, total: int, *, is_share: bool) -> tuple[str, str]:
    if is_share:
        return "those of one principal", format_bytes(int(total * settings.space_share))
    return "they", format_bytes(total)
