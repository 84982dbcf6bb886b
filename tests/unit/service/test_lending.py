"""Borrowed connections: ordinary statements on a place in the pool that stays the borrower's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.pool import ConnectionPool
from chronoduck.errors import (
    DuckDBQueryError,
    PoolTimeoutError,
    ServiceUnavailableError,
    StatementRefusedError,
)
from chronoduck.service.lending import Loan, lend
from chronoduck.settings import Settings
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
async def hasty(make_settings: Callable[..., Settings]) -> AsyncIterator[DuckDBService]:
    """A service that takes connections back which nobody uses for a moment."""
    settings = make_settings(statement_timeout=0.5, max_statement_timeout=0.5)
    async with DuckDBService(settings) as opened:
        yield opened


async def borrow(service: DuckDBService, timeout: float | None = None) -> Loan:
    return await lend((await service.parts()).runner, timeout=timeout)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def count(service: DuckDBService, table: str) -> int:
    result = await service.execute_query(f"SELECT count(*) FROM {table}")
    number: int = result.data[0][0]
    return number


def free(service: DuckDBService) -> int:
    pool: ConnectionPool[Any] = service.connection_pool
    return pool.available_connections


async def test_its_statements_are_ordinary_ones(service: DuckDBService) -> None:
    before = (await service.get_statistics())["metrics"]["total_queries"]
    loan = await borrow(service)
    await loan.execute("CREATE TABLE seen (n INTEGER)")
    await loan.execute("INSERT INTO seen VALUES (?), (?)", [1, 2])
    with pytest.raises(DuckDBQueryError):
        await loan.execute("SELECT nothing FROM seen")
    assert (await loan.execute("SELECT n FROM seen ORDER BY n")).data == [(1,), (2,)]
    metrics = (await service.get_statistics())["metrics"]
    assert metrics["total_queries"] == before + 4
    assert await count(service, "seen") == 2
    loan.close()


async def test_the_pool_counts_it_until_it_is_returned(service: DuckDBService) -> None:
    most = service.connection_pool.max_connections
    loan = await borrow(service)
    await loan.execute("CREATE TABLE seen (n INTEGER)")
    with pytest.raises(DuckDBQueryError):
        await loan.execute("SELECT")
    await until(lambda: free(service) == most - 1)
    loan.close()
    loan.close()
    await until(lambda: free(service) == most)
    with pytest.raises(ServiceUnavailableError, match="was returned"):
        await loan.execute("SELECT 1")


async def test_all_may_be_lent_and_all_work(service: DuckDBService) -> None:
    most = service.connection_pool.max_connections
    loans = [await borrow(service) for _ in range(most)]
    with pytest.raises(PoolTimeoutError):
        await borrow(service, timeout=0.05)
    results = await asyncio.gather(*(each.execute("SELECT 1") for each in loans for _ in range(5)))
    assert [result.data for result in results] == [[(1,)]] * (5 * most)
    loans.pop().close()
    assert (await service.execute_query("SELECT 2")).data == [(2,)]
    for each in loans:
        each.close()


async def test_statements_of_one_borrower_wait_for_each_other(service: DuckDBService) -> None:
    loan = await borrow(service)
    await loan.execute("CREATE TABLE seen (n INTEGER)")
    await asyncio.gather(*(loan.execute(f"INSERT INTO seen VALUES ({n})") for n in range(10)))
    rows = (await loan.execute("SELECT n FROM seen ORDER BY rowid")).data
    assert rows == [(n,) for n in range(10)]
    loan.close()


async def test_a_transaction_is_seen_when_it_is_committed(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE seen (n INTEGER)")
    loan = await borrow(service)
    await loan.begin()
    await loan.execute("INSERT INTO seen VALUES (1)")
    assert await count(service, "seen") == 0
    with pytest.raises(DuckDBQueryError, match="is open"):
        await loan.begin()
    await loan.commit()
    assert await count(service, "seen") == 1
    await loan.begin()
    await loan.execute("DELETE FROM seen")
    await loan.rollback()
    with pytest.raises(DuckDBQueryError, match="no transaction"):
        await loan.rollback()
    assert await count(service, "seen") == 1
    loan.close()


async def test_an_open_transaction_is_rolled_back_when_it_is_returned(
    service: DuckDBService,
) -> None:
    await service.execute_query("CREATE TABLE seen (n INTEGER)")
    most = service.connection_pool.max_connections
    loan = await borrow(service)
    await loan.begin()
    await loan.execute("INSERT INTO seen VALUES (1)")
    loan.close()
    await until(lambda: free(service) == most)
    assert await count(service, "seen") == 0


async def test_nothing_of_a_transaction_gets_past_the_services_own_commit(
    service: DuckDBService,
) -> None:
    loan = await borrow(service)
    for text in ("BEGIN", "COMMIT", "ROLLBACK", "ATTACH 'other.db'"):
        with pytest.raises(StatementRefusedError):
            await loan.execute(text)
    loan.close()


async def test_one_that_is_forgotten_is_taken_back(hasty: DuckDBService) -> None:
    most = hasty.connection_pool.max_connections
    loan = await borrow(hasty)
    assert free(hasty) == most - 1
    await until(lambda: free(hasty) == most)
    assert (await loan.execute("SELECT 1")).data == [(1,)]
    loan.close()


async def test_a_forgotten_transaction_is_rolled_back(hasty: DuckDBService) -> None:
    await hasty.execute_query("CREATE TABLE seen (n INTEGER)")
    most = hasty.connection_pool.max_connections
    loan = await borrow(hasty)
    await loan.begin()
    await loan.execute("INSERT INTO seen VALUES (1)")
    await until(lambda: free(hasty) == most)
    assert await count(hasty, "seen") == 0
    with pytest.raises(DuckDBQueryError, match="no transaction"):
        await loan.commit()
    loan.close()


async def test_an_idle_one_does_not_hold_an_instance_that_is_closed(service: DuckDBService) -> None:
    loan = await borrow(service)
    await loan.execute("SELECT 1")
    pool, runner = service.connection_pool, (await service.parts()).runner
    closed = pool.connections_closed
    runner.leave_engine()
    await until(lambda: pool.connections_closed == closed + 1)
    assert pool.available_connections == pool.max_connections - 1
    assert (await loan.execute("SELECT 2")).data == [(2,)]
    loan.close()


async def test_a_cancelled_statement_leaves_the_connection_first(service: DuckDBService) -> None:
    loan = await borrow(service)
    task = asyncio.create_task(
        loan.execute("SELECT count(*) FROM range(100_000_000) a, range(1_000) b")
    )
    runner = (await service.parts()).runner
    await until(lambda: any(each.state == "running" for each in runner.list_running()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await loan.execute("SELECT 1")).data == [(1,)]
    assert free(service) == service.connection_pool.max_connections - 1
    loan.close()


async def test_a_shutdown_takes_it_back(settings: Settings) -> None:
    service = DuckDBService(settings)
    loan = await borrow(service)
    await loan.begin()
    await service.shutdown()
    with pytest.raises(ServiceUnavailableError):
        await loan.execute("SELECT 1")
    await service.initialize()
    assert free(service) == service.connection_pool.max_connections
    await service.shutdown()
