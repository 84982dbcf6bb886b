"""When the process may be replaced, when writes go on, and what a rescue that failed leaves behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.assembly.refuted_wal import RefutedWal
from chronoduck.engine.disk_format import BLOCK_BYTES, HEADER_BYTES
from chronoduck.settings import Settings
from chronoduck.shadow.messages import Mark, ShadowStatus
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
def reasons() -> list[str]:
    return []


@pytest.fixture
async def service(
    make_settings: Callable[..., Settings], reasons: list[str]
) -> AsyncIterator[DuckDBService]:
    settings = make_settings(disk_floor=0)
    async with DuckDBService(settings, on_stuck=reasons.append) as opened:
        await opened.execute_query("CREATE TABLE t (a INTEGER)")
        await opened.execute_query("CHECKPOINT")
        await opened.execute_query("INSERT INTO t VALUES (1)")
        yield opened


async def test_a_proof_of_an_older_wal_replaces_no_process(
    service: DuckDBService, reasons: list[str]
) -> None:
    parts = await service.parts()
    iteration = parts.access.barrier.watch.iteration()
    assert iteration is not None
    parts.refuted.refusing = "a checkpoint does not end"
    for proven, expected in ((iteration - 1, []), (iteration, ["stuck"])):
        mark = Mark(proven, 10**9, 1, 0)
        parts.shadow.status = ShadowStatus(verdict="proven", proven=mark)
        parts.refuted.replace_process("stuck")
        assert reasons == expected
    parts.refuted.refusing = ""


async def test_a_refuted_wal_is_saved_when_a_hanging_checkpoint_ends_without_taking_it(
    service: DuckDBService,
) -> None:
    parts = await service.parts()
    before = parts.checkpointer.count
    parts.shadow.status = ShadowStatus(verdict="refuted", refuted=Mark(1, 1, 1, 0))
    parts.checkpointer._hanging_since = time.monotonic()
    parts.refuted.note_hanging()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not parts.refuted.refusing:
            await asyncio.sleep(0.01)
    parts.checkpointer._hanging_since = None
    async with asyncio.timeout(PATIENCE_SECONDS):
        while parts.refuted.refusing:
            await asyncio.sleep(0.05)
    assert parts.checkpointer.count > before


@pytest.fixture
async def unreadable(make_settings: Callable[..., Settings]) -> AsyncIterator[DuckDBService]:
    """A service on a file whose table has a damaged block."""
    settings = make_settings(disk_floor=0)
    path = settings.database_path
    path.parent.mkdir(parents=True)
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE t AS SELECT md5(range::VARCHAR) AS v FROM range(500000)")
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES + 10 * BLOCK_BYTES + 5000)
        file.write(b"damaged")
    path.chmod(0o640)
    async with DuckDBService(settings) as opened:
        yield opened


async def test_a_rescue_copy_that_fails_leaves_no_file(unreadable: DuckDBService) -> None:
    def files(path: Path) -> set[str]:
        return {each.name for each in path.rglob("*") if each.is_file()}

    parts = await unreadable.parts()
    refuted: RefutedWal = parts.refuted
    before = files(unreadable.settings.database_path.parent)
    await refuted._rescue()
    assert refuted.rescue_file is None
    assert files(unreadable.settings.database_path.parent) == before
