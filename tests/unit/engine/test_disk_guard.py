"""The guard of the disk's floor, beside what tests/fault shows of it on volumes that are full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chronoduck.engine import disk_guard
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
