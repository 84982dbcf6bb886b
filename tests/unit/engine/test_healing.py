"""The healer goes on whatever goes wrong while it reopens the database."""

from __future__ import annotations

import asyncio
import errno

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.healing import HealReason


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space"), RuntimeError("anything")])
async def test_an_error_that_is_not_the_engines_does_not_end_the_healing(
    service: DuckDBService, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Fails when the task ends with the error: then everybody waits for ever."""
    parts = await service.parts()
    instance, healer = parts.access.instance, parts.access.healer
    repair = instance._repair_wal
    errors = [error, error]

    def repair_at_the_third_time() -> None:
        if errors:
            raise errors.pop()
        repair()

    monkeypatch.setattr(instance, "_repair_wal", repair_at_the_third_time)
    healer.reopen(instance.generation, HealReason.FILES_CHANGED)
    assert (await service.execute_query("SELECT 42", timeout=60)).data == [(42,)]
    assert healer.last_heal is not None
    assert healer.last_heal.attempts == 3
    await asyncio.sleep(0)
