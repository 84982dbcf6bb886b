"""What health says of backups: none wanted, none yet, one that failed, one that is overdue."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.monitoring.durability import (
    DAMAGED_HINT,
    backup_finding,
    damaged_blocks,
    file_finding,
)
from chronoduck.monitoring.health import Status
from chronoduck.monitoring.shadow import do_first
from chronoduck.settings import BackupSettings, Settings

DAY = 86_400.0


def status(**values: Any) -> dict[str, Any]:
    return {
        "enabled": True,
        "last_success_at": "2030-01-01T00:00:00+00:00",
        "is_overdue": False,
        "last_error": "",
        **values,
    }


@pytest.mark.parametrize(
    ("backups", "expected", "reason"),
    [
        ({}, Status.HEALTHY, "No backups are made by this service"),
        (status(enabled=False), Status.HEALTHY, "No backups are made by this service"),
        (status(), Status.HEALTHY, "The last backup is of 2030-01-01T00:00:00+00:00"),
        (status(last_success_at=None), Status.HEALTHY, "No backup was made yet"),
        (status(is_overdue=True), Status.DEGRADED, "two of the schedule's times have passed"),
        (status(last_error="disk_full", is_overdue=True), Status.DEGRADED, "(disk_full)"),
    ],
)
def test_backups(backups: dict[str, Any], expected: Status, reason: str) -> None:
    found = backup_finding(backups)
    assert (found.component, found.status) == ("backup", expected)
    assert reason in found.reason
    assert bool(found.hint) == (expected is not Status.HEALTHY)


def test_a_scrub_tells_when_all_blocks_were_read() -> None:
    assert file_finding({}, 0).reason == ""
    well = file_finding({"damaged_blocks": 0, "scrubbed_us": 1_893_456_000_000_000}, 0)
    assert (well.status, well.reason) == (
        Status.HEALTHY,
        "All blocks were read last at 2030-01-01T00:00:00.000+00:00",
    )
    assert file_finding({"damaged_blocks": 1, "scrubbed_us": 0}, 1).status is Status.UNHEALTHY


@pytest.mark.parametrize("finder", range(3))
def test_damage_counts_whoever_found_it(finder: int) -> None:
    found = [{"damaged_blocks": 0}, {"blocks": 0}, {"damaged_blocks": 0}]
    assert damaged_blocks(*found) == 0
    found[finder] = dict.fromkeys(found[finder], 2)
    assert damaged_blocks(*found) == 2
    assert file_finding({}, 2).hint == DAMAGED_HINT


def test_while_only_the_process_has_all_data_nothing_says_to_stop_it() -> None:
    for saving, refuted in (({"refusing": "x"}, None), ({"refusing": ""}, {"offset": 1})):
        first = do_first({"saving": saving, "refuted": refuted})
        assert "Do not restart" in first
        assert file_finding({}, 2, first).hint == first
    assert do_first({}) == do_first({"saving": {"refusing": ""}, "refuted": None}) == ""


async def test_a_schedule_that_is_not_followed_is_seen(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    backup = BackupSettings(dir=tmp_path / "backups", schedule="0 0 * * *")
    async with DuckDBService(make_settings(backup=backup)) as service:
        assert (await service.health_check())["components"]["backup"]["status"] == "healthy"
        backups = (await service.parts()).backups
        backups._good_since = time.monotonic() - 1.9 * DAY
        assert (await service.health_check())["components"]["backup"]["status"] == "healthy"
        backups._good_since = time.monotonic() - 2.1 * DAY
        found = (await service.health_check())["components"]["backup"]
        assert (found["status"], found["reason"]) == (
            "degraded",
            "No backup was made yet; two of the schedule's times have passed since",
        )
