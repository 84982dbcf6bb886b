"""The platform's names: one service a process, from any event loop and thread."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from app.services import duckdb_service as platform
from app.services.duckdb_service import (
    ConnectionMetrics,
    DuckDBException,
    DuckDBQueryError,
    DuckDBService,
    QueryResult,
)
from chronoduck.errors import StatementRefusedError
from chronoduck.principals import Principal, Role
from chronoduck.service.records import Caller
from chronoduck.settings import Settings, ShadowSettings, load_settings
from tests.patience import PATIENCE_SECONDS


def settings_in(directory: Path) -> Settings:
    return load_settings(
        database_path=directory / "data" / "test.db",
        temp_directory=directory / "temp",
        memory_limit="500MB",
        worker_threads=2,
        shutdown_grace=0.5,
        ballast_size=0,
        shadow=ShadowSettings(enabled=False),
    )


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBService]:
    """The process's service, open; each test runs on an event loop of its own."""
    opened = DuckDBService(settings_in(tmp_path_factory.mktemp("skin")))
    asyncio.run(opened.initialize())
    yield opened
    asyncio.run(opened.shutdown())


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def in_use(service: DuckDBService) -> int:
    return service.metrics.active_connections


# --- one object ----------------------------------------------------------------------------------


async def test_there_is_one_object(service: DuckDBService) -> None:
    assert DuckDBService() is service
    assert await platform.get_duckdb_service() is service
    assert await platform.execute_analytics_query("SELECT $n + 1", {"n": 41}) == [(42,)]
    assert (await platform.get_service_health())["status"] == "healthy"


def test_the_modules_object_is_the_first_one() -> None:
    assert isinstance(platform.duckdb_service, DuckDBService)


def test_it_may_be_asked_from_one_event_loop_after_the_other(service: DuckDBService) -> None:
    async def ask() -> object:
        return (await service.execute_query("SELECT 1")).data

    assert [asyncio.run(ask()) for _ in range(3)] == [[(1,)]] * 3
    with ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(asyncio.run, ask()) for _ in range(8)]
        assert [future.result() for future in futures] == [[(1,)]] * 8


async def test_it_opens_again_after_a_shutdown_twice(service: DuckDBService) -> None:
    await service.execute_query("CREATE OR REPLACE TABLE kept AS SELECT 1 AS n")
    counted = service.metrics.total_queries
    for _ in range(2):
        await service.shutdown()
        await service.shutdown()
        assert (service._initialized, service._shutdown) == (False, True)
        with pytest.raises(DuckDBException, match="Service not initialized"):
            await service.execute_query("SELECT 1")
        with pytest.raises(DuckDBException, match="Service not initialized"):
            await service.get_connection()
        assert (await service.health_check())["status"] == "not_initialized"
        await service.initialize()
        await service.initialize()
        assert (service._initialized, service._shutdown) == (True, False)
    assert (await service.execute_query("FROM kept")).data == [(1,)]
    assert service.metrics.total_queries > counted


async def test_other_settings_must_wait_for_a_shutdown(
    service: DuckDBService, tmp_path: Path
) -> None:
    with pytest.raises(DuckDBException, match="other settings"):
        DuckDBService(settings_in(tmp_path))
    before = service.settings
    await service.shutdown()
    assert DuckDBService(settings_in(tmp_path)) is service
    assert service.database_path == str(tmp_path / "data" / "test.db")
    (tmp_path / "data").write_text("no directory")
    with pytest.raises(DuckDBException, match=r"Initialization failed: .*/data"):
        await service.initialize()
    assert "Initialization failed" in (await platform.get_service_health())["errors"][0]
    DuckDBService(before)
    await service.initialize()


def test_it_says_what_it_was_set_to(service: DuckDBService) -> None:
    assert service.database_path.endswith("/data/test.db")
    assert service.temp_directory.endswith("/temp")
    assert service.memory_limit == "500MB"
    assert service.worker_threads == 2
    assert service.max_memory_percentage == 60
    assert service.enable_s3 is False


# --- results, metrics, breaker -------------------------------------------------------------------


async def test_one_row_is_a_tuple_and_none_is_none(service: DuckDBService) -> None:
    rows = "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t(id, name) ORDER BY id"
    one = await service.execute_query(rows, fetch_mode="one")
    assert (one.data, one.row_count, one.columns) == ((1, "a"), 1, ["id", "name"])
    empty = await service.execute_query(f"SELECT * FROM ({rows}) WHERE id > 2", fetch_mode="one")
    assert (empty.data, empty.row_count) == (None, 0)
    none = await service.execute_query(rows, fetch_mode="none")
    assert (none.data, none.row_count) == (None, None)
    everything = await service.execute_batch([rows, "SELECT 1"])
    assert [result.data for result in everything] == [[(1, "a"), (2, "b")], [(1,)]]
    assert all(isinstance(result, QueryResult) for result in (one, none, *everything))


async def test_metrics_are_attributes(service: DuckDBService) -> None:
    before = service.metrics
    await service.execute_query("SELECT 1")
    with pytest.raises(DuckDBQueryError):
        await service.execute_query("SELECT nothing")
    after = service.metrics
    assert isinstance(after, ConnectionMetrics)
    assert after.total_queries == before.total_queries + 2
    assert after.successful_queries == before.successful_queries + 1
    assert after.failed_queries == before.failed_queries + 1
    assert isinstance(after.last_query_time, datetime)
    assert 0 < after.success_rate() < 100
    assert after.memory_usage_mb > 0
    assert ConnectionMetrics().success_rate() == 100
    statistics = await service.get_statistics()
    assert statistics["performance"]["avg_memory_per_query"] >= 0


async def test_the_breaker_is_forced_with_a_reason(service: DuckDBService) -> None:
    service.circuit_breaker.force_open("a test")
    try:
        with pytest.raises(platform.CircuitBreakerOpenException, match="a test"):
            await service.execute_query("SELECT 1")
        assert service.circuit_breaker.get_status()["state"] == "open"
    finally:
        service.circuit_breaker.force_closed("the test is over")
    assert (await service.execute_query("SELECT 1")).data == [(1,)]


async def test_a_result_streams_to_any_loop(service: DuckDBService) -> None:
    rows = 0
    async for batch in service.stream("FROM range(100_000)"):
        rows += batch.num_rows
    assert rows == 100_000


async def test_a_cancelled_caller_interrupts_its_statement(service: DuckDBService) -> None:
    failed = service.metrics.failed_queries
    task = asyncio.create_task(
        service.execute_query("SELECT count(*) FROM range(100_000_000) a, range(1_000) b")
    )
    await asyncio.to_thread(until, lambda: in_use(service) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(until, lambda: service.metrics.failed_queries == failed + 1)


# --- lent connections ----------------------------------------------------------------------------


async def test_a_lent_connection_waits_on_a_loop_and_in_a_thread(service: DuckDBService) -> None:
    lent = await service.get_connection()
    assert lent.execute("SELECT * FROM range(3)").fetchall() == [(0,), (1,), (2,)]
    lent.execute("CREATE OR REPLACE TABLE seen AS SELECT 7 AS n")

    def work() -> object:
        rows = lent.execute("SELECT n, $word FROM seen", {"word": "x"})
        assert [column[0] for column in rows.description] == ["n", "$word"]
        return rows.fetchone(), rows.fetchone(), lent.execute("FROM seen") and lent.fetchmany(5)

    assert await asyncio.to_thread(work) == ((7, "x"), None, [(7,)])
    with pytest.raises(DuckDBQueryError):
        lent.execute("SELECT nothing FROM seen")
    assert lent.execute("SELECT count(*) FROM seen").fetchone() == (1,)
    service.return_connection(lent)
    service.return_connection(lent)
    with pytest.raises(DuckDBException, match="was returned"):
        lent.execute("SELECT 1")


async def test_lent_connections_are_counted(service: DuckDBService) -> None:
    first, second = await service.get_connection(), await service.get_connection()
    assert in_use(service) == 2
    service.return_connection(first)
    assert in_use(service) == 1
    service.return_connection(second)
    assert in_use(service) == 0
    pool = service._connection_pool
    assert pool is not None
    assert len(pool._available_connections) == 2
    assert pool.max_connections == 4


async def test_a_forgotten_connection_comes_back(service: DuckDBService) -> None:
    lent = await service.get_connection()
    assert in_use(service) == 1
    del lent
    gc.collect()
    await asyncio.to_thread(until, lambda: in_use(service) == 0)


async def test_a_lent_connection_has_transactions(service: DuckDBService) -> None:
    await service.execute_query("CREATE OR REPLACE TABLE seen (n INTEGER)")
    lent = await service.get_connection()
    lent.execute("BEGIN TRANSACTION")
    lent.execute("INSERT INTO seen VALUES (1)")
    assert (await service.execute_query("SELECT count(*) FROM seen")).data == [(0,)]
    lent.execute("COMMIT;")
    lent.begin()
    lent.execute("INSERT INTO seen VALUES (2)")
    lent.rollback()
    lent.begin()
    lent.execute("INSERT INTO seen VALUES (3)")
    lent.commit()
    assert lent.execute("SELECT n FROM seen ORDER BY n").fetchall() == [(1,), (3,)]
    lent.close()


async def test_a_returned_connection_is_clean(service: DuckDBService) -> None:
    await service.execute_query("CREATE OR REPLACE TABLE seen (n INTEGER)")
    lent = await service.get_connection()
    lent.execute("SET VARIABLE left_over = 3")
    lent.begin()
    lent.execute("INSERT INTO seen VALUES (1)")
    service.return_connection(lent)
    lent_again = [await service.get_connection() for _ in range(3)]
    for each in lent_again:
        assert each.execute("SELECT getvariable('left_over')").fetchone() == (None,)
        assert each.execute("SELECT count(*) FROM seen").fetchone() == (0,)
        service.return_connection(each)


# --- transactions --------------------------------------------------------------------------------


async def test_a_transaction_is_awaited_or_waited_for(service: DuckDBService) -> None:
    await service.execute_query("CREATE OR REPLACE TABLE seen (n INTEGER)")
    loop = asyncio.get_running_loop()
    async with service.transaction() as opened:
        await opened.execute("INSERT INTO seen VALUES (1)")
        await loop.run_in_executor(
            service._thread_pool, lambda: opened.execute("INSERT INTO seen VALUES (2)")
        )
        opened.execute("INSERT INTO seen VALUES (3)")  # sent, and waited for at the block's end
        assert (await opened.execute("SELECT count(*) FROM seen")).data == [(3,)]
        one = await opened.execute("SELECT n FROM seen ORDER BY n", fetch_mode="one")
        assert one.data == (1,)
        assert opened.execute("SELECT sum(n) FROM seen").fetchone() == (6,)
    assert (await service.execute_query("SELECT count(*) FROM seen")).data == [(3,)]


async def test_what_fails_in_a_transaction_leaves_nothing(service: DuckDBService) -> None:
    await service.execute_query("CREATE OR REPLACE TABLE seen (n INTEGER)")
    with pytest.raises(ValueError, match="the platform's own"):
        async with service.transaction() as opened:
            await opened.execute("INSERT INTO seen VALUES (1)")
            raise ValueError("the platform's own")
    with pytest.raises(DuckDBQueryError, match="nothing was committed"):
        async with service.transaction() as opened:
            opened.execute("INSERT INTO seen VALUES (1)")
            opened.execute("INSERT INTO nowhere VALUES (1)")  # nobody looks at what came of it
    with pytest.raises(DuckDBQueryError):
        async with service.transaction() as opened:
            await asyncio.to_thread(opened.execute, "INSERT INTO nowhere VALUES (1)")
    assert (await service.execute_query("SELECT count(*) FROM seen")).data == [(0,)]


async def test_a_cancelled_transaction_is_rolled_back(service: DuckDBService) -> None:
    await service.execute_query("CREATE OR REPLACE TABLE seen (n INTEGER)")
    inside = asyncio.Event()

    async def work() -> None:
        async with service.transaction() as opened:
            await opened.execute("INSERT INTO seen VALUES (1)")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await service.execute_query("SELECT count(*) FROM seen")).data == [(0,)]
    await asyncio.to_thread(until, lambda: in_use(service) == 0)


# --- files ---------------------------------------------------------------------------------------


async def test_files_in_the_temp_directory_are_for_this_process_alone(
    service: DuckDBService,
) -> None:
    file = Path(service.temp_directory) / "numbers.parquet"
    await service.execute_query(f"COPY (FROM range(3)) TO '{file}' (FORMAT parquet)")
    read = f"SELECT count(*) FROM read_parquet('{file}')"
    assert (await service.execute_query(read)).data == [(3,)]
    for role in Role:
        stranger = Caller("ann", principal=Principal("ann", role, f"key:{role}"))
        for text in (read, f"COPY (SELECT 1) TO '{file}'", f"FROM '{file}'"):
            with pytest.raises(StatementRefusedError):
                await service.execute_query(text, caller=stranger)
    before = service.settings
    await service.shutdown()
    DuckDBService(before.model_copy(update={"require_sandbox": ("directories",)}))
    await service.initialize()
    with pytest.raises(DuckDBQueryError):
        await service.execute_query(read)
    await service.shutdown()
    DuckDBService(before)
    await service.initialize()
    outside = Path(service.temp_directory).parent / "outside.parquet"
    with pytest.raises(DuckDBQueryError):
        await service.execute_query(f"COPY (SELECT 1) TO '{outside}' (FORMAT parquet)")
    assert not outside.exists()
