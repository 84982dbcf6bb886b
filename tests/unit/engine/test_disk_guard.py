"""The guard of the disk's floor, beside what tests/fault shows of it on volumes that are full."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable

import pytest

from chronoduck.engine import disk_guard
from chronoduck.engine.checkpoint_room import FileSpace
from chronoduck.engine.disk_guard import DiskGuard
from chronoduck.errors import DiskFullError
from chronoduck.settings import Settings
from tests.patience import PATIENCE_SECONDS


async def test_space_is_reclaimed_again_when_the_first_attempt_met_the_full_disk(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes are refused meanwhile, so that no further failure would begin another attempt."""
    monkeypatch.setattr(disk_guard, "_RECLAIM_SECONDS", 0.001)
    monkeypatch.setattr(disk_guard, "_LOOK_SECONDS", 0.001)
    settings = make_settings(disk_floor="1000TB")
    settings.database_path.parent.mkdir(parents=True)
    attempts = []

    async def reclaim() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise DiskFullError("no space for that either")

    guard = DiskGuard(settings, reclaim)
    look, looks = guard.look, []
    monkeypatch.setattr(guard, "look", lambda: (looks.append(1), look()))
    await guard.start()
    guard.note_full()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(attempts) < 3:
            await asyncio.sleep(0.01)
        seen = len(looks)
        while len(looks) < seen + 50:
            await asyncio.sleep(0.001)
    await guard.stop()
    assert len(attempts) == 3


async def test_all_of_the_ballast_goes_when_a_checkpoint_or_the_reopening_met_the_end(
    make_settings: Callable[..., Settings],
) -> None:
    """No statement has failed: what failed is tried again, and needs that space."""
    settings = make_settings(disk_floor="1000TB", ballast_size=1_000_000)
    settings.database_path.parent.mkdir(parents=True)
    ballast = settings.database_path.with_name(settings.database_path.name + ".ballast")
    ballast.write_bytes(bytes(settings.ballast_size))

    async def reclaim() -> None:
        raise AssertionError("no write has failed")

    guard = DiskGuard(settings, reclaim)
    guard.look()
    guard.tend()
    guard.note_end_of_volume()
    guard.tend()
    assert ballast.exists()  # the volume has much more than that: the failure had another cause
    guard._ballast.size = guard.free_bytes * 2
    guard.note_end_of_volume()
    guard.tend()
    assert not ballast.exists()


@pytest.mark.parametrize(
    ("floors", "inside", "refuses"),
    [(0.9, 0.0, True), (0.9, 0.2, False), (0.3, 0.8, False), (0.2, 9.0, True), (1.1, 0.0, False)],
)
async def test_space_inside_the_file_counts_but_a_quarter_must_be_on_the_volume(
    make_settings: Callable[..., Settings], floors: float, inside: float, refuses: bool
) -> None:
    directory = make_settings().database_path.parent
    directory.mkdir(parents=True)
    floor = int(shutil.disk_usage(directory).free / floors)

    async def reclaim() -> None:
        pass

    guard = DiskGuard(
        make_settings(disk_floor=floor, ballast_size=0),
        reclaim,
        lambda: FileSpace(10_000_000, int(inside * floor)),
    )
    await guard.start()
    assert guard.is_refusing is refuses
    await guard.stop()
