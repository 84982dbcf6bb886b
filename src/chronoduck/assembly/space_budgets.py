"""Budgets of disk space, as the settings have them: each on the volume that it is spent on."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from chronoduck.engine.disk_guard import VolumeFloor
from chronoduck.errors import SpoolSpaceError
from chronoduck.resilience.space_budget import SpaceBudget
from chronoduck.settings import Settings
from chronoduck.units import format_bytes

__all__ = ["SpaceBudgets"]


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
        self.check_jobs = VolumeFloor(settings.jobs_path.parent, floor).check
        self.check_exports = VolumeFloor(_export_directory(settings), floor).check


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
