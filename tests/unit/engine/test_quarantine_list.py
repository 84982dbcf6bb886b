"""The list of what is not read any more: everybody goes by the newest look."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from chronoduck.engine.quarantined import QuarantineList
from chronoduck.errors import StatementRefusedError
from tests.patience import PATIENCE_SECONDS


async def test_who_comes_while_somebody_looks_waits_for_what_is_found(tmp_path: Path) -> None:
    begun, may_look = threading.Event(), threading.Event()

    class Slow(QuarantineList):
        def look(self) -> frozenset[str]:
            begun.set()
            assert may_look.wait(PATIENCE_SECONDS)
            return super().look()

    found = Slow(tmp_path / "a.db")
    may_look.set()
    await found.follow()
    found.write(["t.a"], ["t"])
    found._looked = 1.0  # long ago
    begun.clear()
    may_look.clear()
    first = asyncio.create_task(found.follow())
    assert await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
    second = asyncio.create_task(found.follow())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not second.done()
    may_look.set()
    await asyncio.gather(first, second)
    with pytest.raises(StatementRefusedError):
        found.check("SELECT * FROM t")
