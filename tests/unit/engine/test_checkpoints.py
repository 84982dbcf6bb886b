"""Checkpoints of an open service: beside writers of every kind, and never kept off for good."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.checkpoint_urgency import LogState, Urgency, urgency
from chronoduck.engine.checkpoints import Checkpointer
from chronoduck.engine.wal_watch import Suspect
from chronoduck.errors import StatementTimeoutError, TransactionConflictError
from chronoduck.settings import CheckpointSettings, Settings
from tests.patience import PATIENCE_SECONDS

LIMITS = CheckpointSettings(log_size=1_000_000, commits=100, interval=60)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (LogState(0, 0, 0.0), Urgency.NONE),
        (LogState(10, 1, 1.0), Urgency.NONE),
        (LogState(1_000_000, 1, 1.0), Urgency.DUE),
        (LogState(10, 100, 1.0), Urgency.DUE),
        (LogState(10, 1, 60.0), Urgency.DUE),
        (LogState(10, 1, 6000.0), Urgency.DUE),
        (LogState(8_000_000, 1, 1.0), Urgency.OVERDUE),
        (LogState(10, 800, 1.0), Urgency.OVERDUE),
        (LogState(10, 1, 1.0, 0.9), Urgency.NONE),
        (LogState(10, 1, 1.0, 1.0), Urgency.DUE),
        (LogState(10, 1, 1.0, 8.0), Urgency.OVERDUE),
    ],
)
def test_when_a_checkpoint_is_due(log: LogState, expected: Urgency) -> None:
    assert urgency(log, LIMITS) is expected


async def test_small_transactions_are_checkpointed_by_what_a_replay_would_cost(
    make_settings: Callable[..., Settings],
) -> None:
    limits = CheckpointSettings(log_size="1GB", commits=1_000_000, interval=3600, replay=0.01)
    async with DuckDBService(make_settings(checkpoint=limits)) as service:
        await service.execute_query("CREATE TABLE t (a INTEGER)")
        before = await checkpoints(service)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await checkpoints(service) == before:
                await service.execute_query("INSERT INTO t VALUES (1)")


@pytest.fixture
async def busy(make_settings: Callable[..., Settings]) -> AsyncIterator[DuckDBService]:
    settings = make_settings(checkpoint=CheckpointSettings(log_size="20KB"), worker_threads=4)
    async with DuckDBService(settings) as service:
        await service.execute_query("CREATE TABLE t AS SELECT range AS a, 0 AS b FROM range(1000)")
        yield service


async def checkpoints(service: DuckDBService) -> int:
    return int((await service.get_replication_status())["checkpoints"]["count"])


async def until_more_checkpoints(service: DuckDBService, seconds: float = PATIENCE_SECONDS) -> None:
    before = await checkpoints(service)
    async with asyncio.timeout(seconds):
        while await checkpoints(service) < before + 2:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "statements",
    [
        ["INSERT INTO t VALUES (-1, {k})"],
        ["UPDATE t SET b = b + 1 WHERE a = {k}"],
        ["CREATE OR REPLACE TABLE own_{k} AS SELECT 1 AS a"],
        ["DELETE FROM t WHERE a = {k}", "INSERT INTO t VALUES ({k}, 0)"],
    ],
    ids=["insert", "update", "create", "delete"],
)
async def test_they_come_between_writers(busy: DuckDBService, statements: list[str]) -> None:
    is_done = False

    async def write(k: int) -> None:
        while not is_done:
            await busy.execute_batch([text.format(k=k) for text in statements])

    writers = [asyncio.create_task(write(k)) for k in range(3)]
    await busy.health_check()  # its question must leave no transaction open
    await until_more_checkpoints(busy)
    is_done = True
    await asyncio.gather(*writers)
    pauses = (await busy.get_replication_status())["checkpoints"]
    assert pauses["last_error"] == ""


async def test_a_health_check_leaves_no_transaction_behind(busy: DuckDBService) -> None:
    await busy.health_check()
    await busy.execute_query("CREATE TABLE u AS SELECT 1 AS a")
    await busy.execute_query("UPDATE t SET b = 1")
    await busy.execute_query("CHECKPOINT")


async def test_a_reader_that_takes_its_time_puts_them_off_until_it_has_ended(
    busy: DuckDBService,
) -> None:
    batches = busy.stream("SELECT * FROM t, range(1000)")
    await anext(batches)
    for number in range(300):
        await busy.execute_query("UPDATE t SET b = ? WHERE a = 5", [number])
    assert (await busy.execute_query("SELECT b FROM t WHERE a = 5")).data == [(299,)]
    await batches.aclose()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:  # its connection is closed by another thread
            try:
                await busy.execute_query("CHECKPOINT")
                break
            except TransactionConflictError:
                await asyncio.sleep(0.05)
    assert (await busy.execute_query("SELECT b FROM t WHERE a = 5")).data == [(299,)]


async def test_a_checkpoint_of_a_user_waits_for_a_copy_no_longer_than_its_deadline(
    busy: DuckDBService,
) -> None:
    parts = busy._parts
    assert parts is not None
    async with parts.checkpointer.held():
        for _ in range(10):  # more than there are workers: none may be lost
            with pytest.raises(StatementTimeoutError, match="copied"):
                await busy.execute_query("CHECKPOINT", timeout=0.3)
        await busy.execute_query("INSERT INTO t VALUES (1, 1)")
    await busy.execute_query("CHECKPOINT")


async def test_a_checkpoint_whose_caller_leaves_keeps_the_files_from_being_copied(
    service: DuckDBService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB goes on with it: whoever copies the files, or closes them, has to wait."""
    parts = await service.parts()
    begun, may_end = threading.Event(), threading.Event()

    def prepare(connection: object) -> None:
        begun.set()
        assert may_end.wait(PATIENCE_SECONDS)

    await service.execute_query("CREATE TABLE t (a INTEGER)")
    monkeypatch.setattr(parts.instance, "prepare_checkpoint", prepare)
    before = parts.checkpointer.count
    leaving = asyncio.create_task(parts.checkpointer.checkpoint())
    assert await asyncio.to_thread(begun.wait, 30)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), parts.checkpointer.held():
                pass
    finally:
        may_end.set()
    async with parts.checkpointer.held():
        assert parts.checkpointer.count == before + 1


async def test_a_wal_that_cannot_be_read_for_a_moment_does_not_end_checkpoints(
    busy: DuckDBService, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = busy.settings.database_path
    obstacle = path.with_name(f"{path.name}.wal.checkpoint")
    await busy.execute_query("CHECKPOINT")
    await busy.execute_query("INSERT INTO t VALUES (1, 1)")
    watch = (await busy.parts()).access.barrier.watch
    failures, look = 0, watch.look

    def count() -> Suspect | None:
        nonlocal failures
        try:
            return look()
        except OSError:
            failures += 1
            raise

    monkeypatch.setattr(watch, "look", count)
    obstacle.symlink_to(obstacle)  # looking at it fails
    async with asyncio.timeout(PATIENCE_SECONDS):
        while failures < 3:
            await asyncio.sleep(0.02)
    obstacle.unlink()

    async def write() -> None:
        while True:
            await busy.execute_query("UPDATE t SET b = b + 1")

    writer = asyncio.create_task(write())
    try:
        await until_more_checkpoints(busy)
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


async def test_ddl_that_an_older_reader_kept_in_the_wal_is_taken_in_when_it_has_ended(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    never = CheckpointSettings(log_size="1GB", commits=1_000_000, interval=3600, replay=3600)
    tried, looks = [], []
    try_one, look = Checkpointer.checkpoint_if_free, Checkpointer.log_state

    async def note_try(self: Checkpointer) -> bool:
        tried.append(await try_one(self))
        return tried[-1]

    def note_look(self: Checkpointer) -> LogState:
        looks.append(look(self))
        return looks[-1]

    monkeypatch.setattr(Checkpointer, "checkpoint_if_free", note_try)
    monkeypatch.setattr(Checkpointer, "log_state", note_look)
    async with (
        DuckDBService(make_settings(checkpoint=never)) as service,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        await service.execute_query("CREATE TABLE t AS SELECT 1 AS a")
        await service.execute_query("CHECKPOINT")
        await service.execute_query("INSERT INTO t VALUES (2)")
        before = await checkpoints(service)
        async with service.transaction() as reader:
            await reader.execute("SELECT * FROM t")
            await service.execute_query("CREATE TABLE u (a INTEGER)")
            tried.clear()
            while not tried:
                await asyncio.sleep(0.01)
            assert not any(tried)
            assert await checkpoints(service) == before
        while await checkpoints(service) == before:
            await asyncio.sleep(0.01)
        # Rows alone wait for their limits: they are seen, and nothing is tried.
        await service.execute_query("INSERT INTO t VALUES (3)")
        tried.clear()
        looks.clear()
        while sum(state.size > 0 for state in looks) < 5:
            await asyncio.sleep(0.01)
        assert tried == []
