"""What the doctor says of the volume of the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chronoduck.cli.checks import _disk, _tight_volume
from chronoduck.cli.findings import Severity
from chronoduck.settings import Settings
from tests.fault.volumes import fill, small_volume

GB = 1_000_000_000


@pytest.mark.parametrize(
    ("total", "free", "severity", "advice"),
    [
        (100 * GB, 50 * GB, None, ""),
        (100 * GB, GB - 1, Severity.WARNING, "DROP or DELETE"),
        (100 * GB, GB // 2 - 1, Severity.ERROR, "DROP or DELETE"),
        (2 * GB - 1, 2 * GB - 1, Severity.WARNING, "Enlarge it to 2.0 GB at least, or set"),
        (GB // 4, GB // 4, Severity.ERROR, "runbook disk-full"),
    ],
)
def test_a_volume_is_judged_by_the_floor(
    make_settings: Callable[..., Settings],
    total: int,
    free: int,
    severity: Severity | None,
    advice: str,
) -> None:
    found = _tight_volume(make_settings(disk_floor="500MB"), total, free)
    assert (found[0] if found else None) == severity
    assert advice in (found[2] if found else "")
    assert _tight_volume(make_settings(disk_floor=0), total, free) is None


def test_a_small_floor_is_not_advised(make_settings: Callable[..., Settings]) -> None:
    found = _tight_volume(make_settings(disk_floor="90MB"), 300_000_000, 300_000_000)
    assert found is not None
    assert "set DUCKDB_DISK_FLOOR" not in found[2]


def test_a_volume_below_two_floors_is_no_ok(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    with small_volume(tmp_path / "data", 60) as volume:
        settings = make_settings(disk_floor="10MB")
        assert next(each.severity for each in _disk(settings)) is Severity.OK
        fill(volume, leave=15_000_000)
        check = next(iter(_disk(settings)))
        assert (check.id, check.severity) == ("disk", Severity.WARNING)
        assert "who writes the most is stopped" in check.finding


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="there is no /sys")
def test_a_volume_without_blocks_is_judged_too(make_settings: Callable[..., Settings]) -> None:
    found = list(_disk(make_settings(database_path=Path("/sys/kernel/a.db"))))
    assert found[0].severity is Severity.ERROR
