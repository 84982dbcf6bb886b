"""How long one writer keeps the others out."""

from __future__ import annotations

import asyncio

from chronoduck.errors import DuckDBException
from chronoduck.resilience.write_gate import WriteGate
from chronoduck.service.write_pass import WritePass
from tests.patience import PATIENCE_SECONDS


async def test_a_commit_of_ddl_keeps_others_out_for_a_bounded_time() -> None:
    told: list[DuckDBException] = []
    write = WritePass(
        WriteGate(), is_writer=True, is_alter=False, alone_seconds=0.05, on_too_long=told.append
    )
    await write.enter(1.0)
    write.note_commit()
    write.note_commit()  # of the next step of the same transaction
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not told:
            await asyncio.sleep(0.01)
    assert "commit of DDL at most 0.05 s" in str(told[0])
    await asyncio.sleep(0.1)
    assert len(told) == 1


async def test_a_commit_that_ends_in_time_is_not_told() -> None:
    told: list[DuckDBException] = []
    for seconds in (0.05, None):
        write = WritePass(
            WriteGate(),
            is_writer=True,
            is_alter=False,
            alone_seconds=seconds,
            on_too_long=told.append,
        )
        await write.enter(1.0)
        write.note_commit()
        write.leave()
        write.note_commit()
    await asyncio.sleep(0.15)
    assert told == []
