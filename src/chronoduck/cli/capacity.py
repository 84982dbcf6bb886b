"""``chronoduck capacity``: what a million rows take here, and how long the disk lasts."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import Any

from chronoduck.backup.shelf import Shelf
from chronoduck.cli.output import console, print_json, print_table
from chronoduck.cli.remote import RemoteService
from chronoduck.cli.target import (
    DatabaseOption,
    JsonOption,
    TokenFileOption,
    UrlOption,
    require_service,
    settings_for,
)
from chronoduck.engine.memory import memory_budget
from chronoduck.settings import Settings
from chronoduck.units import format_bytes

__all__ = ["capacity", "forecast"]

_MANY_ROWS = 10_000
"""Smaller tables say nothing of what a million rows take: a block holds them all."""


def capacity(
    database: DatabaseOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what rows take in file and memory, what spill files may take, when the disk is full."""
    found = forecast(settings_for(database), require_service(database, url, token_file))
    if as_json:
        print_json(found)
        return
    print_table(
        ["", "here", "the guide says"],
        [
            ("rows", f"{found['rows']:,}", ""),
            ("file", format_bytes(found["file_bytes"]), ""),
            ("file, a million rows", _or_none(found["file_bytes_per_million_rows"]), "100 MB"),
            (
                "memory of the service",
                format_bytes(found["process_memory_bytes"]),
                "512 MB at least",
            ),
            (
                "memory of the engine, at most",
                format_bytes(found["memory_limit_bytes"]),
                "60 % of RAM",
            ),
            (
                "spill files, at most",
                format_bytes(found["spill_limit_bytes"]),
                "2 x the memory limit",
            ),
            ("backups", format_bytes(found["backup_bytes"]), "3 x the file"),
            ("disk, free", format_bytes(found["disk_free_bytes"]), ""),
            ("growth a day", _or_none(found["growth_bytes_per_day"]), ""),
        ],
        numeric=[False, True, True],
    )
    days = found["days_until_full"]
    if days is None:
        console.print("How long the disk lasts cannot be told: two backups of different days tell.")
    else:
        console.print(f"At this pace the disk is full in about {days:,.0f} days.")


def _or_none(count: float | None) -> str:
    return "-" if count is None else format_bytes(count)


def forecast(settings: Settings, service: RemoteService) -> dict[str, Any]:
    """Return the figures behind the table; sizes in bytes."""
    rows = sum(table["row_estimate"] or 0 for table in service.call("GET", "/tables"))
    statistics = service.call("GET", "/statistics")
    file_bytes = round(statistics["database_file"]["size_mb"] * 1e6)
    disk = shutil.disk_usage(settings.database_path.parent)
    backups = [] if (shelf := Shelf.of(settings)) is None else shelf.list()
    growth = _growth_per_day(
        [
            (backup.name.taken_at, backup.manifest.database_bytes)
            for backup in backups
            if backup.manifest
        ],
        file_bytes,
    )
    return {
        "rows": rows,
        "file_bytes": file_bytes,
        "file_bytes_per_million_rows": round(file_bytes / rows * 1e6)
        if rows >= _MANY_ROWS
        else None,
        "process_memory_bytes": round(statistics["system"]["process_memory_mb"] * 1e6),
        "memory_limit_bytes": statistics["service"]["memory_limit_bytes"],
        "spill_limit_bytes": settings.max_temp_size or 2 * memory_budget(settings).limit_bytes,
        "backup_bytes": sum(backup.size for backup in backups),
        "disk_free_bytes": disk.free,
        "growth_bytes_per_day": growth,
        "days_until_full": None if not growth else disk.free / growth,
    }


def _growth_per_day(sizes: list[tuple[datetime, int]], now_bytes: int) -> float | None:
    """Return the bytes a day since the oldest backup; None when it is younger than a day."""
    if not sizes:
        return None
    then, size = sizes[0]
    days = (datetime.now(UTC) - then).total_seconds() / 86_400
    return max(0.0, (now_bytes - size) / days) if days >= 1 else None
